"""Experts drawn one after another, computed.

B batch, T tokens, N = B·T, D model width, E experts, K choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Routing, wide

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.sparse_mixer import SparseMixer

#: How many of the draws that are not the best count in part, and for how much (Heun's third-order method).
_IN_PART, _PART = 0.75, 1 / 3


class SparseMixerRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`."""

    def __init__(self, said: SparseMixer, at: Site) -> None:
        super().__init__()
        self.said, self.experts = said, int(at.extra["experts"])
        self.logits = Linear(at.width, self.experts, bias=False)

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """Every token's experts, in the order in which they were chosen."""
        logits_NE = wide(self.logits(x_BTD.flatten(0, 1)))
        left_NE = logits_NE
        chosen, weights = [], []
        for _ in range(self.said.k):
            one_N1, weight_N1 = self._choose(logits_NE, left_NE)
            chosen.append(one_N1)
            weights.append(weight_N1)
            left_NE = left_NE.scatter(1, one_N1, -torch.inf)
        expert_NK, weight_NK = torch.cat(chosen, 1), torch.cat(weights, 1)
        return Routing(expert_NK, weight_NK, self.experts, logits_NE, logits_NE.softmax(-1), logits_NE)

    def _choose(self, logits_NE: Tensor, left_NE: Tensor) -> tuple[Tensor, Tensor]:
        """One of the experts that are left, and what it counts for."""
        with torch.no_grad():
            most_N1, best_N1 = left_NE.max(-1, keepdim=True)
            far_NE = (most_N1 - logits_NE) > 2 * self.said.jitter * logits_NE.abs().maximum(most_N1)
        close_NE = left_NE.masked_fill(far_NE, -torch.inf)
        share_NE = close_NE.softmax(-1)
        if not self.training:
            return best_N1, share_NE.gather(1, best_N1)
        with torch.no_grad():
            # The largest of logits with Gumbel noise is a draw by their shares.
            drawn_N1 = (close_NE - torch.empty_like(close_NE).exponential_().log()).argmax(-1, keepdim=True)
            whole_N1 = (drawn_N1 == best_N1) | (torch.rand_like(most_N1) > _IN_PART)
        weight_N1 = share_NE.gather(1, drawn_N1)
        # The gradient is that of the whole share.
        return drawn_N1, weight_N1 + torch.where(whole_N1, 0.0, _PART - 1) * weight_N1.detach()
