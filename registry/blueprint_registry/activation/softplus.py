"""Smooth rectifier."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("softplus")
class Softplus(Activation):
    """Smooth rectifier, never negative: log(1 + eˣ) (Dugas et al., 2001, eq. 1)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.Softplus()
