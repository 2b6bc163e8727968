"""The loss of objectives that ask something of single tokens. Shapes: `B` batch, `T` tokens, `N` of them that count,
`D` model width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blueprint_registry.objective._judging_nn import IGNORED, JudgingObjective

_INPUTS = ("attention_mask", "token_type_ids", "position_ids", "segment_ids", "prefix_length")


class TokenObjective(JudgingObjective):
    """Answers that are tokens, by way of the model's hidden states."""

    def states(self, out: Any) -> Tensor:
        """The hidden states (B, T, D)."""
        hidden: Tensor = out.hidden
        return hidden

    def logits(self, model: nn.Module, states_ND: Tensor) -> Tensor:
        """The logits of some hidden states, (N, V)."""
        logits_1NV: Tensor = model.project(states_ND[None])  # type: ignore[operator]
        return logits_1NV[0]

    def classes(self, model: nn.Module) -> int:
        """The size of the vocabulary."""
        size: int = model.plan.site.vocab_size  # type: ignore[union-attr, assignment]
        return size


def read(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    """What the model makes of `input_ids` (B, T), the logits left out, which are never whole in memory.

    The batch may have `attention_mask`, `token_type_ids`, `position_ids`, `segment_ids` and `prefix_length`, too;
    positions run on through documents unless the batch says them.
    """
    ids_BT = batch["input_ids"]
    inputs = {name: batch[name] for name in _INPUTS if batch.get(name) is not None}
    if "segment_ids" in inputs and not {"position_ids", "attention_mask"} & inputs.keys():
        inputs["position_ids"] = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
    return model(ids_BT, **inputs, logits=False)


def loss_of(model: nn.Module, out: Any, labels_BT: Tensor, **extra: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean cross-entropy of `labels` (−100 is not counted), and as metrics the same without gradient (`loss`, nats
    a token), the number of tokens it is a mean of (`tokens`), and the terms of the model's parts. `extra` goes to
    `model.cross_entropy`."""
    loss: Tensor = model.cross_entropy(out.hidden, labels_BT, **extra)  # type: ignore[operator]
    terms = {name: value.detach() for name, value in out.terms.items()}
    return loss, terms | {"loss": loss.detach(), "tokens": (labels_BT != IGNORED).sum()}
