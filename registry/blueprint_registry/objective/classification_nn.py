"""The class of a whole sequence or image. Shapes: `B` batch, `C` classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import with_losses

if TYPE_CHECKING:
    from blueprint_registry.objective.classification import Classification

IGNORED = -100
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")


class ClassificationObjective:
    """Mean cross-entropy of `labels` (−100 is not counted)."""

    def __init__(self, said: Classification) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and as metrics the cross-entropy without gradient (`loss`, nats a sample), the number of samples it
        is a mean of (`tokens`), the terms of the model's parts, and outside training the class `predicted` (B,).

        The batch has `labels` (B,), and the model's inputs by their names.
        """
        labels_B = batch["labels"]
        out = model(**{name: batch[name] for name in _INPUTS if batch.get(name) is not None})
        logits_BC = out.logits.float()
        counted_B = labels_B != IGNORED
        smoothing = self.said.label_smoothing if model.training else 0.0
        total = F.cross_entropy(logits_BC, labels_B, reduction="sum", label_smoothing=smoothing)
        # A batch of rows that only fill it up is zero, and not nan.
        loss = total / counted_B.sum().clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": counted_B.sum()}
        if model.training:
            return with_losses(loss, out.terms), metrics
        return loss, metrics | {"predicted": logits_BC.argmax(-1)}

    def scores(self) -> dict[str, Any]:
        """The share of samples whose likeliest class is the right one."""
        from torchmetrics.classification import MulticlassAccuracy

        return {"accuracy": MulticlassAccuracy(average="micro", validate_args=False)}
