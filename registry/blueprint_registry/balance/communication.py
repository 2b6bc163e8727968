"""The loss of uneven sending to groups of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.balance._grouped import Grouped

if TYPE_CHECKING:
    from blueprint_registry.balance.communication_nn import CommunicationBalance


@register("communication")
class Communication(Grouped):
    """A loss of weight · Σ f″_d P″_d over the router's D groups, each of which stands for a device, with f″_d as D / M
    times the share of tokens that are sent to it (those with a choice among its experts), M being how many groups a
    token may be sent to, and P″_d the sum of its experts' mean probabilities: at most 1 · weight where all are even
    (DeepSeek-V2, 2024, eq. 18–20, whose α₃ is the weight).
    """

    weight: PositiveFloat = 0.02
    """What the loss counts for beside the objective."""

    def build(self, at: Site) -> CommunicationBalance:
        """The module."""
        from blueprint_registry.balance.communication_nn import CommunicationBalance

        return CommunicationBalance(self, at)
