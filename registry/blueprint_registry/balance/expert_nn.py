"""The loss of uneven experts, computed.

N tokens, E experts, K choices, B groups of tokens that are judged together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Routing
from blueprint_registry.balance.common_nn import shares

if TYPE_CHECKING:
    from blueprint_registry.balance.expert import Expert


class ExpertBalance(nn.Module):
    """`(routing, flow) -> {"balance_loss": …}`."""

    def __init__(self, said: Expert) -> None:
        super().__init__()
        self.said = said

    def forward(self, routing: Routing, flow: Flow) -> dict[str, Tensor]:
        """The weighted loss, a scalar."""
        if self.said.choices == "first":
            # Choices stand in order of preference.
            routing = replace(routing, expert_NK=routing.expert_NK[:, :1])
        f_BE, p_BE = shares(routing, flow, apart=self.said.over == "sequence")
        if self.said.over != "layers":
            return {"balance_loss": self._loss(f_BE, p_BE)}
        # What this layer adds to the loss of all layers up to it; the sum over layers is that of all.
        key = ("balance", self.said, routing.experts)
        layers, f_sum_BE, p_sum_BE, before = flow.memo.get(key, (0, 0.0, 0.0, 0.0))
        layers, f_sum_BE, p_sum_BE = layers + 1, f_sum_BE + f_BE, p_sum_BE + p_BE
        loss = self._loss(f_sum_BE / layers, p_sum_BE / layers)
        flow.memo[key] = (layers, f_sum_BE, p_sum_BE, loss)
        return {"balance_loss": loss - before}

    def _loss(self, f_BE: Tensor, p_BE: Tensor) -> Tensor:
        return self.said.weight * f_BE.shape[-1] * (f_BE * p_BE).sum(-1).mean()
