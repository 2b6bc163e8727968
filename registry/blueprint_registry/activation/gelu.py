"""Gaussian error linear unit."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("gelu")
class Gelu(Activation):
    """Gaussian error linear unit: x · Φ(x), Φ the normal distribution function (Hendrycks & Gimpel, 2016, §2)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.GELU()
