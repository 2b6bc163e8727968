"""The loss of large logits of a router, computed.

N tokens, E experts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing, wide
from blueprint_registry.balance.common_nn import mean

if TYPE_CHECKING:
    from blueprint_registry.balance.z import Z


class ZBalance(nn.Module):
    """`(routing, flow) -> {"router_z_loss": …}`."""

    def __init__(self, said: Z) -> None:
        super().__init__()
        self.said = said

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        assert routing.logits_NE is not None
        z_N = wide(routing.logits_NE).logsumexp(-1)
        return {"router_z_loss": self.said.weight * mean(z_N.square()[:, None], routing, None).squeeze()}
