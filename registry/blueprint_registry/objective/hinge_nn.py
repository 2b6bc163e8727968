"""A margin between classes. Shapes: `B` batch, `C` classes, `N` samples that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint_registry.objective.hinge import Hinge


class HingeObjective(LabelsObjective):
    """Mean of what the best wrong class lacks of a margin below the right one."""

    def __init__(self, said: Hinge) -> None:
        self.said = said

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """Σ max(0, margin + max_{c ≠ y} z_c − z_y), each squared where that is said."""
        counted_B = self.counted(labels_B)
        logits_NC, labels_N1 = logits_BC[counted_B], labels_B[counted_B][:, None]
        right_N = logits_NC.gather(1, labels_N1)[:, 0]
        wrong_N = logits_NC.scatter(1, labels_N1, float("-inf")).amax(1)
        lack_N = (self.said.margin + wrong_N - right_N).clamp_min(0)
        return (lack_N.square() if self.said.squared else lack_N).sum()
