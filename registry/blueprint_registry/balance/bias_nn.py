"""Balance without a loss, computed.

E experts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Routing

if TYPE_CHECKING:
    from blueprint_registry.balance.bias import Bias


class BiasBalance(nn.Module):
    """`(routing, flow) -> {}`; it acts after the step."""

    def __init__(self, said: Bias) -> None:
        super().__init__()
        self.said = said

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """Nothing joins the loss."""
        return {}

    @torch.no_grad()
    def adjust(self, router: Any, load_E: Tensor) -> None:
        """Move the router's correction by the load of the step, in place."""
        router.correction.add_(torch.sign(load_E.mean() - load_E), alpha=self.said.rate)
