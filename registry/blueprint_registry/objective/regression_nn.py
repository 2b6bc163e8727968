"""A number for a whole sequence. Shapes: `B` batch, `C` outputs of the head, of which there is one, `N` samples that
count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from blueprint_registry.objective._labels_nn import LabelsObjective

if TYPE_CHECKING:
    from blueprint_registry.objective.regression import Regression


class RegressionObjective(LabelsObjective):
    """Mean squared or absolute difference of the output and `labels`, which are numbers (nan is not counted)."""

    def __init__(self, said: Regression) -> None:
        self.said = said

    def counted(self, labels_B: Tensor) -> Tensor:
        """Those that are numbers, (B,)."""
        return ~labels_B.isnan()

    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """The summed error."""
        counted_B = self.counted(labels_B)
        off_N = logits_BC[:, 0][counted_B] - labels_B[counted_B]
        return off_N.square().sum() if self.said.error == "squared" else off_N.abs().sum()

    def predicted(self, logits_BC: Tensor) -> Tensor:
        """The output, (B,)."""
        return logits_BC[:, 0]

    def scores(self) -> dict[str, Any]:
        """The share of the variance that is explained, 1 − Var(y − z) / Var(y)."""
        from torchmetrics.regression import ExplainedVariance

        return {"explained_variance": ExplainedVariance()}
