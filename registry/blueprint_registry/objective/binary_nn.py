"""Yes or no for a whole sequence or image. Shapes: `B` batch, `C` outputs, of which there is one,
`N` samples that count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint_registry.objective.binary import Binary


class BinaryObjective(LabelsObjective):
    """Mean binary cross-entropy of `labels`, 0 or 1."""

    def __init__(self, said: Binary) -> None:
        self.said = said

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """−w·y·log σ(z) − (1 − y)·log(1 − σ(z)), summed; the weight w acts in training alone."""
        counted_B = self.counted(labels_B)
        logits_N, labels_N = logits_BC[:, 0][counted_B], labels_B[counted_B].to(logits_BC.dtype)
        weight = logits_N.new_tensor(self.said.positive_weight) if training else None
        return F.binary_cross_entropy_with_logits(logits_N, labels_N, reduction="sum", pos_weight=weight)

    def predicted(self, logits_BC: Tensor) -> Tensor:
        """1 where that is likelier than 0, (B,)."""
        return (logits_BC[:, 0] > 0).long()
