"""The loss of experts that are likely to serve unequally many tokens, computed.

N tokens, E experts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing, everyone
from blueprint_registry.balance._variation_nn import squared_variation

if TYPE_CHECKING:
    from blueprint_registry.balance.load import Load


class LoadBalance(nn.Module):
    """`(routing, flow) -> {"load_loss": …}`; nothing where no noise was drawn."""

    def __init__(self, said: Load) -> None:
        super().__init__()
        self.weight = said.weight

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        chance_NE = routing.more.get("load")
        if chance_NE is None:
            return {}
        if routing.keep_N is not None:
            chance_NE = chance_NE * routing.keep_N[:, None]
        return {"load_loss": self.weight * squared_variation(everyone(chance_NE.sum(0)))}
