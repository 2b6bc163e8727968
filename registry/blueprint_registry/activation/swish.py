"""Linear unit weighted by a sigmoid of any steepness."""

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.activation.swish_nn import SwishActivation


@register("swish")
class Swish(Activation):
    """Linear unit weighted by a sigmoid: x · σ(alpha x) (Ramachandran, Zoph & Le, 2017, §3); `silu` where alpha is 1,
    `quick_gelu` where it is 1.702, as in GPT-OSS."""

    alpha: PositiveFloat
    """How steep the sigmoid is."""

    def build(self, at: Site) -> "SwishActivation":
        """The module; it has no parameters."""
        from blueprint_registry.activation.swish_nn import SwishActivation

        return SwishActivation(self)
