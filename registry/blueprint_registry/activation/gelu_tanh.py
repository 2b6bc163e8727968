"""Gaussian error linear unit by tanh."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("gelu_tanh")
class GeluTanh(Activation):
    """`gelu` by tanh: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks & Gimpel, 2016, §2)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.GELU(approximate="tanh")
