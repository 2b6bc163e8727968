"""Steps of equal size along the sign of a running mean."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.optimizer._rates import Beta, Rated

if TYPE_CHECKING:
    from blueprint.ops import Weight
    from blueprint_registry.optimizer.lion_nn import Signed


@register("lion")
class Lion(Rated):
    """Every weight moves by the learning rate, whichever way a mean of its gradients points (Chen et al., 2023,
    *Symbolic Discovery of Optimization Algorithms*, alg. 2): half of Adam's state. Rates are three to ten times lower
    than Adam's, and decay as many times higher (§5)."""

    lr: PositiveFloat = 1e-4
    """Peak learning rate; the schedule multiplies it."""

    betas: list[Beta] = Field(default=[0.9, 0.99], min_length=2, max_length=2)
    """Share of the running mean in what a step's sign is of, and its decay rate."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.3
    """Share, times the learning rate, by which weights shrink a step. It acts on parameters of two or more dimensions
    (projections, tables) and never on vectors (norm weights, biases)."""

    def build(self, at: Site) -> "Callable[[Iterable[Weight]], Signed]":
        """A function from weights to the optimizer."""
        from blueprint.ops import parameter_groups
        from blueprint_registry.optimizer.lion_nn import Signed

        return lambda weights: Signed(parameter_groups(weights, self.lr, self.weight_decay), self.betas)
