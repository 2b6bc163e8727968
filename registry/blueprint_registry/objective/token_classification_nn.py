"""The class of each word. Shapes: `B` batch, `T` tokens, `C` classes, `N` tokens of all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from blueprint_registry.objective._judging_nn import IGNORED
from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.objective.token_classification import TokenClassification


class TokenClassificationObjective(LabelsObjective):
    """Mean cross-entropy of `labels` (B, T), one for every token that counts."""

    def __init__(self, said: TokenClassification, at: Site) -> None:
        self.said, self.count = said, at.extra.get("classes")

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """The summed cross-entropy of logits (B, T, C) and labels (B, T); smoothing acts in training alone."""
        smoothing = self.said.label_smoothing if training else 0.0
        logits_NC, labels_N = logits_BC.flatten(0, 1), labels_B.flatten()
        return F.cross_entropy(logits_NC, labels_N, reduction="sum", label_smoothing=smoothing)

    def scores(self) -> dict[str, Any]:
        """The share of right classes among the tokens that count, and where it is known how many classes there are, the
        mean of their F1."""
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        told: dict[str, Any] = {"ignore_index": IGNORED, "validate_args": False}
        found: dict[str, Any] = {"accuracy": MulticlassAccuracy(average="micro", **told)}
        if self.count is not None:
            found["macro_f1"] = MulticlassF1Score(num_classes=self.count, average="macro", **told)
        return found
