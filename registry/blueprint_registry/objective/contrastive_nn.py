"""Two views of each text. Shapes: `B` batch, `N` texts that count, `M` those of all processes that share the batch,
`D` width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import of_everyone, with_losses

if TYPE_CHECKING:
    from blueprint_registry.objective.contrastive import Contrastive

IGNORED = -100
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class ContrastiveObjective:
    """Mean cross-entropy of the right one among the second views of all texts."""

    def __init__(self, said: Contrastive) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and as metrics the same without gradient (`loss`, nats a text), the number of texts it is a mean
        of (`tokens`), and the terms of the model's parts.

        The batch has the model's inputs by their names; rows without any of the `labels` (B, T) only fill it up.
        """
        given = {name: batch[name] for name in _INPUTS if batch.get(name) is not None}
        counted_B = (batch["labels"] != IGNORED).flatten(1).any(1)
        out = model(**given)
        # Without dropout the second view is the first.
        again = model(**given) if model.training else out
        a_BD, b_BD = (F.normalize(each.logits.float(), dim=-1) for each in (out, again))
        (all_MD, own), (counted_M, _) = of_everyone(b_BD), of_everyone(counted_B)
        logits_NM = a_BD[counted_B] @ all_MD[counted_M].T / self.said.temperature
        right_N = (counted_M.cumsum(0) - 1)[own][counted_B]
        total = F.cross_entropy(logits_NM, right_N, reduction="sum")
        loss = total / counted_B.sum().clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": counted_B.sum()}
        return (with_losses(loss, out.terms) if model.training else loss), metrics
