"""No nonlinearity."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("identity")
class Identity(Activation):
    """No nonlinearity: x; in a gated feed-forward the bilinear variant (Shazeer, 2020, eq. 5)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.Identity()
