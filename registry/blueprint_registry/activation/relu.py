"""Rectified linear unit."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("relu")
class Relu(Activation):
    """Rectified linear unit: max(0, x) (Nair & Hinton, 2010, §2)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.ReLU()
