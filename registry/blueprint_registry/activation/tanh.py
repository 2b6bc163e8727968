"""The hyperbolic tangent."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("tanh")
class Tanh(Activation):
    """The hyperbolic tangent (LeCun et al., 1998, *Efficient BackProp*, §4.4)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.Tanh()
