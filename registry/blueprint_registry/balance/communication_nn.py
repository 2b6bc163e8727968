"""The loss of uneven sending to groups of experts, computed.

N tokens, T tokens of one group of tokens, B groups of tokens that are judged together, E experts, G groups of experts
(devices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing
from blueprint_registry.balance.common_nn import chosen, mean, probability

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.balance.communication import Communication


class CommunicationBalance(nn.Module):
    """`(routing, flow) -> {"communication_balance_loss": …}`."""

    def __init__(self, said: Communication, at: Site) -> None:
        super().__init__()
        self.said, self.groups, self.kept = said, int(at.extra["groups"]), int(at.extra["kept"])

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        rows = flow.position_BT.shape[0] if self.said.over == "sequence" else None
        sent_NG = chosen(routing).unflatten(-1, (self.groups, -1)).amax(-1)
        f_BG = mean(sent_NG, routing, rows) / self.kept
        p_BG = mean(probability(routing), routing, rows).unflatten(-1, (self.groups, -1)).sum(-1)
        return {"communication_balance_loss": self.said.weight * self.groups * (f_BG * p_BG).sum(-1).mean()}
