"""Adam's second mean in the memory of its rows and columns."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.optimizer._rates import Rated

if TYPE_CHECKING:
    from blueprint.ops import Weight
    from blueprint_registry.optimizer.adafactor_nn import Factored


@register("adafactor")
class Adafactor(Rated):
    """The mean square of a matrix of gradients as the product of the means of its rows and of its columns, steps in
    proportion to the weights (Shazeer & Stern, 2018, alg. 4 to 6): next to no state. Each of a stack of experts is a
    matrix by itself."""

    lr: PositiveFloat = 1e-2
    """Peak of the relative step size ρ, which at step t is at most 1/√t; the schedule multiplies it. A step moves
    weights by about ρ times their root mean square."""

    decay: Annotated[float, Field(gt=0)] = 0.8
    """How fast the running mean forgets less and less: at step t its decay rate is 1 − t^−decay (§7.2)."""

    clip: PositiveFloat = 1.0
    """Root mean square above which the update of a matrix, before ρ, is scaled down to it (d, §6)."""

    eps: PositiveFloat = 1e-30
    """Added to the squares of gradients (ε₁)."""

    smallest: PositiveFloat = 1e-3
    """What weights with a smaller root mean square are taken to have (ε₂), so that zeros learn."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Share, times the learning rate, by which weights shrink a step. It acts on parameters of two or more dimensions
    (projections, tables) and never on vectors (norm weights, biases)."""

    def build(self, at: Site) -> "Callable[[Iterable[Weight]], Factored]":
        """A function from weights to the optimizer."""
        from blueprint.ops import parameter_groups
        from blueprint_registry.optimizer.adafactor_nn import Factored

        def make(weights: "Iterable[Weight]") -> Factored:
            groups = parameter_groups(weights, self.lr, self.weight_decay)
            return Factored(groups, self.decay, self.clip, self.eps, self.smallest)

        return make
