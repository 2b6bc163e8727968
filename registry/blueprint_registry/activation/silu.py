"""Sigmoid-weighted linear unit."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("silu")
class Silu(Activation):
    """Sigmoid-weighted linear unit, also called swish: x · σ(x) (Elfwing, Uchibe & Doya, 2017, eq. 2)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.SiLU()
