"""What objectives share that judge predictions by labels. Shapes: `B` batch, `T` tokens, `N` predictions that count,
`D` width of what they are made of, `C` classes or tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from blueprint.ops import with_losses

IGNORED = -100


class JudgingObjective(ABC):
    """A loss in two steps, the model's run and the judgement of what it gave, so that others may look between."""

    @abstractmethod
    def run(self, model: nn.Module, batch: Mapping[str, Any]) -> Any:
        """What the model gives for a batch."""

    @abstractmethod
    def judged(self, model: nn.Module, out: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of that, without the losses of the model's parts, and its metrics."""

    @abstractmethod
    def states(self, out: Any) -> Tensor:
        """What predictions are made of, (B, D) or (B, T, D) as the labels are."""

    @abstractmethod
    def logits(self, model: nn.Module, states_ND: Tensor) -> Tensor:
        """The predictions of some states, (N, C)."""

    @abstractmethod
    def classes(self, model: nn.Module) -> int:
        """How many classes or tokens a prediction tells apart: C."""

    def counted(self, labels: Tensor) -> Tensor:
        """Which predictions count, of the shape of the labels."""
        return labels != IGNORED

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics: `loss`, the same without gradient, the number of predictions it is a mean of
        (`tokens`), and the terms of the model's parts, of which the losses join the loss in training."""
        out = self.run(model, batch)
        loss, metrics = self.judged(model, out, batch)
        return with_losses(loss, out.terms) if model.training else loss, metrics
