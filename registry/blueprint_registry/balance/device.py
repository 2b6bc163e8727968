"""The loss of uneven groups of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.balance._grouped import Grouped

if TYPE_CHECKING:
    from blueprint_registry.balance.device_nn import DeviceBalance


@register("device")
class Device(Grouped):
    """A loss of weight · Σ f′_d P′_d over the router's D groups, each of which stands for a device, with f′_d the mean
    of its experts' fᵢ, which is D times the share of all choices that fell on them, and P′_d the sum of their mean
    probabilities: 1 · weight where all are even (DeepSeek-V2, 2024, eq. 15–17, whose α₂ is the weight).
    """

    weight: PositiveFloat = 0.05
    """What the loss counts for beside the objective."""

    def build(self, at: Site) -> DeviceBalance:
        """The module."""
        from blueprint_registry.balance.device_nn import DeviceBalance

        return DeviceBalance(self, at)
