"""The integral of ELU on both sides, with slopes that are learned."""

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.activation.xielu_nn import XieluActivation


@register("xielu")
class Xielu(Activation):
    """Expanded integral of the exponential linear unit: αp x² + βx for x > 0, else αn (e^min(x, eps) − 1 − x) + βx,
    with learned αp and αn (Huang & Schlag, 2024, *Deriving Activation Functions Using Integration*, §3.2)."""

    alpha_p: PositiveFloat = 0.8
    """What αp starts as: how fast the slope grows for positive numbers."""
    alpha_n: PositiveFloat = 0.8
    """What αn, which is more than `beta`, starts as: how fast the slope changes for negative numbers."""
    beta: PositiveFloat = 0.5
    """The slope at 0; stored with the weights, but not learned."""
    eps: float = -1e-6
    """The largest number whose exponential is computed; stored with the weights, but not learned."""

    @rule("alpha_n", "beta")
    def _alpha_n_exceeds_beta(alpha_n: float, beta: float) -> Faults:
        if alpha_n > beta:
            return None
        return Fault(f"alpha_n is beta + something positive, so {alpha_n:g} is too little beside a beta of {beta:g}")

    def build(self, at: Site) -> "XieluActivation":
        """The module, with one αp and one αn for all channels."""
        from blueprint_registry.activation.xielu_nn import XieluActivation

        return XieluActivation(self)
