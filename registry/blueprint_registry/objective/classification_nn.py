"""The class of a whole sequence or image. Shapes: `B` batch, `C` classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint_registry.objective.classification import Classification


class ClassificationObjective(LabelsObjective):
    """Mean cross-entropy of `labels`."""

    def __init__(self, said: Classification) -> None:
        self.said = said

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """The summed cross-entropy; smoothing acts in training alone."""
        smoothing = self.said.label_smoothing if training else 0.0
        return F.cross_entropy(logits_BC, labels_B, reduction="sum", label_smoothing=smoothing)
