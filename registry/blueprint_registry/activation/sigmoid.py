"""The logistic function."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from torch import nn


@register("sigmoid")
class Sigmoid(Activation):
    """The logistic function: 1 / (1 + e^−x), the gate of the first GLU (Dauphin et al., 2017, eq. 1)."""

    def build(self, at: Site) -> "nn.Module":
        """torch's own module."""
        from torch import nn

        return nn.Sigmoid()
