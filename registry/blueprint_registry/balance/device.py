"""The loss of uneven groups of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.device_nn import DeviceBalance


@register("device")
class Device(Balance):
    """A loss of weight · Σ f′_d P′_d over the router's D groups, each of which stands for a device, with f′_d as D times
    the share of all choices that fell on its experts and P′_d the sum of their mean probabilities: 1 · weight where all
    are even (DeepSeek-V2, 2024, eq. 15–17, whose α₂ is the weight).
    """

    beside: ClassVar[dict[str, Any]] = {
        "model.block.feed_forward.router": {"type": "top_k", "groups": {"count": 2, "keep": 1}}
    }

    weight: PositiveFloat = 0.05
    """What the loss counts for beside the objective."""
    over: Literal["sequence", "batch"] = "batch"
    """What shares and means are taken over: every `sequence` by itself, the mean of their losses being taken, or the
    `batch`."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Over both."""
        return [{}, {"over": "sequence", "weight": 0.5}]

    @property
    def needs(self) -> frozenset[str]:
        """Probabilities, and groups."""
        return frozenset({"probability", "groups"})

    def build(self, at: Site) -> DeviceBalance:
        """The module."""
        from blueprint_registry.balance.device_nn import DeviceBalance

        return DeviceBalance(self, at)
