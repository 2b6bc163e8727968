"""Writing a target text for a source text. Shapes: `B` batch, `T` tokens of the source, `U` of the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint_registry.objective._token_loss_nn import IGNORED, loss_of

if TYPE_CHECKING:
    from blueprint_registry.objective._predicting import Writing


class WritingObjective:
    """Mean cross-entropy of `labels` (the target's tokens; −100 is not counted), the logits never whole in memory."""

    def __init__(self, said: Writing) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics (`loss`, `tokens`, the terms of the model's parts); outside training also the
        likeliest tokens, `predicted` (B, U).

        The batch has `input_ids` (B, T), `decoder_input_ids`, one place behind `labels`, and `labels` (B, U); it may
        have `attention_mask` and `decoder_attention_mask`.
        """
        labels_BU = batch["labels"]
        out = model(
            batch["input_ids"],
            batch.get("attention_mask"),
            decoder_input_ids=batch["decoder_input_ids"],
            decoder_attention_mask=batch.get("decoder_attention_mask"),
            logits=False,
        )
        loss, metrics = loss_of(model, out, labels_BU, **(self.said.additions if model.training else {}))
        if not model.training:
            # Row by row: the logits of a whole batch may be far larger than everything else.
            rows = [model.project(hidden_1UD).argmax(-1) for hidden_1UD in out.hidden.split(1)]  # type: ignore[operator]
            metrics["predicted"] = torch.cat(rows)
        return loss, metrics

    def scores(self) -> dict[str, Any]:
        """The share of right tokens, and of targets right throughout."""
        from torchmetrics.classification import MulticlassAccuracy, MulticlassExactMatch

        return {
            "accuracy": MulticlassAccuracy(average="micro", ignore_index=IGNORED, validate_args=False),
            # The number of classes is read by the validation of arguments alone.
            "exact_match": MulticlassExactMatch(num_classes=2, ignore_index=IGNORED, validate_args=False),
        }
