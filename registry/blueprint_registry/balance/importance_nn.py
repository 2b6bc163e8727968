"""The loss of experts that count for unequally much, computed.

N tokens, E experts, K choices, P = N·K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing, everyone, wide
from blueprint_registry.balance._variation_nn import squared_variation

if TYPE_CHECKING:
    from blueprint_registry.balance.importance import Importance


class ImportanceBalance(nn.Module):
    """`(routing, flow) -> {"importance_loss": …}`."""

    def __init__(self, said: Importance) -> None:
        super().__init__()
        self.weight = said.weight

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        weight_P = wide(routing.weight_NK.flatten())
        zeros = weight_P.new_zeros(routing.experts + 1)
        importance_E = zeros.scatter_add(0, routing.expert_NK.flatten(), weight_P)[: routing.experts]
        return {"importance_loss": self.weight * squared_variation(everyone(importance_E))}
