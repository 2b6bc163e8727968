"""The loss of uneven sending to groups of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.communication_nn import CommunicationBalance


@register("communication")
class Communication(Balance):
    """A loss of weight · Σ f″_d P″_d over the router's D groups, each of which stands for a device, with f″_d as D / M
    times the share of tokens that are sent to it (those with a choice among its experts), M being how many groups a
    token may be sent to, and P″_d the sum of its experts' mean probabilities: at most 1 · weight where all are even
    (DeepSeek-V2, 2024, eq. 18–20, whose α₃ is the weight).
    """

    beside: ClassVar[dict[str, Any]] = {
        "model.block.feed_forward.router": {"type": "top_k", "groups": {"count": 2, "keep": 1}}
    }

    weight: PositiveFloat = 0.02
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

    def build(self, at: Site) -> CommunicationBalance:
        """The module."""
        from blueprint_registry.balance.communication_nn import CommunicationBalance

        return CommunicationBalance(self, at)
