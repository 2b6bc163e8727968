"""Yes or no to each of several labels. Shapes: `B` batch, `C` labels, `N` samples that count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.objective.multi_label import MultiLabel


class MultiLabelObjective(LabelsObjective):
    """Mean binary cross-entropy of `labels` (B, C), numbers 0 and 1 (nan is not counted)."""

    def __init__(self, said: MultiLabel, at: Site) -> None:
        self.said, self.count = said, at.extra.get("classes")

    def counted(self, labels_B: Tensor) -> Tensor:
        """The samples whose labels are known, (B,)."""
        return ~labels_B.isnan().any(-1)

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """−w·y·log σ(z) − (1 − y)·log(1 − σ(z)), a mean over labels, summed over samples; w acts in training alone."""
        counted_B = self.counted(labels_B)
        logits_NC, labels_NC = logits_BC[counted_B], labels_B[counted_B].to(logits_BC.dtype)
        weight_C = logits_NC.new_tensor(self.said.positive_weight) if training else None
        each_NC = F.binary_cross_entropy_with_logits(logits_NC, labels_NC, reduction="none", pos_weight=weight_C)
        return each_NC.mean(-1).sum()

    def predicted(self, logits_BC: Tensor) -> Tensor:
        """The probability of every label, (B, C)."""
        return logits_BC.sigmoid()

    def scores(self) -> dict[str, Any]:
        """F1 over all answers and averaged over labels, and the average precision, averaged over labels; none where it
        is not known how many labels there are."""
        from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

        if self.count is None:
            return {}
        told: dict[str, Any] = {"num_labels": self.count, "validate_args": False}
        return {
            "micro_f1": MultilabelF1Score(average="micro", **told),
            "macro_f1": MultilabelF1Score(average="macro", **told),
            "average_precision": MultilabelAveragePrecision(average="macro", **told),
        }
