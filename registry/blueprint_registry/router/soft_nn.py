"""Every expert for every token, computed.

B batch, T tokens, N = B·T, D model width, E experts, K = E choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Routing, wide

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.soft import Soft


class SoftRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`."""

    def __init__(self, said: Soft, at: Site) -> None:
        super().__init__()
        self.experts = int(at.extra["experts"])
        self.logits = Linear(at.width, self.experts, bias=said.bias)

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """All experts of every token, those that count for most first."""
        logits_NE = wide(self.logits(x_BTD.flatten(0, 1)))
        p_NE = logits_NE.softmax(-1)
        expert_NK = p_NE.detach().argsort(dim=-1, descending=True, stable=True)
        return Routing(expert_NK, p_NE.gather(1, expert_NK), self.experts, logits_NE, p_NE, p_NE)
