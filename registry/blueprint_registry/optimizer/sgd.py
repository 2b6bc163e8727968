"""Stochastic gradient descent."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveFloat

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint_registry.optimizer._rates import Beta, Rated

if TYPE_CHECKING:
    import torch

    from blueprint.ops import Weight


@register("sgd")
class Sgd(Rated):
    """Stochastic gradient descent (Robbins & Monro, 1951), with momentum as Sutskever et al. (2013, §2) say it for a
    velocity v of gradients alone: v ← μv + g, w ← w − lr · v."""

    lr: PositiveFloat = 0.1
    """Peak learning rate; the schedule multiplies it."""

    momentum: Beta = 0.9
    """Share μ of the velocity that stays from step to step; 0 for none."""

    nesterov: bool = False
    """Whether a step takes g + μv, the gradient as if one were further on already (Sutskever et al., 2013, eq. 3)."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight of half the sum of squares that is added to the loss: the gradient g grows by so many times the weights.
    It acts on parameters of two or more dimensions (projections, tables) and never on vectors (norm weights, biases).
    """

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """With either momentum, and without."""
        return [{}, {"nesterov": True, "weight_decay": 0.01}, {"momentum": 0.0}]

    @rule("nesterov", "momentum")
    def _nesterov_needs_momentum(nesterov: bool, momentum: float) -> Faults:
        if nesterov and not momentum:
            return Fault("`nesterov` does nothing without `momentum`", fix="say `momentum: 0.9`, or leave it out")
        return None

    def build(self, at: Site) -> "Callable[[Iterable[Weight]], torch.optim.SGD]":
        """A function from weights to the optimizer."""
        import torch

        from blueprint.ops import parameter_groups

        def make(weights: "Iterable[Weight]") -> torch.optim.SGD:
            groups = parameter_groups(weights, self.lr, self.weight_decay)
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)

        return make
