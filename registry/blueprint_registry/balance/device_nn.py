"""The loss of uneven groups of experts, computed.

E experts, G groups of them (devices), B groups of tokens that are judged together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing
from blueprint_registry.balance.common_nn import shares

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.balance.device import Device


class DeviceBalance(nn.Module):
    """`(routing, flow) -> {"device_balance_loss": …}`."""

    def __init__(self, said: Device, at: Site) -> None:
        super().__init__()
        self.said, self.groups = said, int(at.extra["groups"])

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        each = shares(routing, flow, apart=self.said.over == "sequence")
        f_BG, p_BG = (share_BE.unflatten(-1, (self.groups, -1)).sum(-1) for share_BE in each)
        return {"device_balance_loss": self.said.weight * self.groups * (f_BG * p_BG).sum(-1).mean()}
