"""Writing a target text for a source text. Shapes: `B` batch, `T` tokens of the source, `U` of the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint_registry.objective._judging_nn import IGNORED
from blueprint_registry.objective._token_loss_nn import TokenObjective, loss_of

if TYPE_CHECKING:
    from blueprint_registry.objective._predicting import Writing


class WritingObjective(TokenObjective):
    """Mean cross-entropy of `labels` (the target's tokens; −100 is not counted), the logits never whole in memory."""

    def __init__(self, said: Writing) -> None:
        self.said = said

    def run(self, model: nn.Module, batch: Mapping[str, Any]) -> Any:
        """What the model makes of `input_ids` (B, T) and `decoder_input_ids` (B, U), which lie one place behind the
        labels; the batch may have `attention_mask` and `decoder_attention_mask`."""
        return model(
            batch["input_ids"],
            batch.get("attention_mask"),
            decoder_input_ids=batch["decoder_input_ids"],
            decoder_attention_mask=batch.get("decoder_attention_mask"),
            logits=False,
        )

    def judged(self, model: nn.Module, out: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of `labels` (B, U) and its metrics (`loss`, `tokens`, the terms of the model's parts); outside
        training also the likeliest tokens, `predicted` (B, U)."""
        loss, metrics = loss_of(model, out, batch["labels"], **(self.said.additions if model.training else {}))
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
