"""The k experts that score highest for a token under noise, computed.

B batch, T tokens, N = B·T, D model width, E experts, K choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Routing, wide

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.noisy_top_k import NoisyTopK


class NoisyTopKRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`."""

    def __init__(self, said: NoisyTopK, at: Site) -> None:
        super().__init__()
        self.k, self.experts = said.k, int(at.extra["experts"])
        self.logits, self.noise = (
            _Zero(at.width, self.experts) if said.initial == "zero" else Linear(at.width, self.experts, bias=False)
            for _ in range(2)
        )

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """Every token's k best experts, best first; while training under noise, with the smooth `load` (N, E)."""
        x_ND = x_BTD.flatten(0, 1)
        h_NE = clean_NE = wide(self.logits(x_ND))
        more = {}
        if self.training:
            std_NE = F.softplus(wide(self.noise(x_ND)))
            h_NE = clean_NE + torch.randn_like(clean_NE) * std_NE
            more = {"load": self._chance(clean_NE, h_NE, std_NE)}
        expert_NK = h_NE.detach().topk(self.k, dim=-1).indices
        weight_NK = h_NE.gather(1, expert_NK).softmax(-1)
        return Routing(expert_NK, weight_NK, self.experts, h_NE, h_NE.softmax(-1), h_NE, more=more)

    def _chance(self, clean_NE: Tensor, h_NE: Tensor, std_NE: Tensor) -> Tensor:
        """(N, E): how likely an expert is among the best k if its noise is drawn again (Shazeer et al., 2017,
        eq. 9)."""
        best_NK = h_NE.topk(self.k + 1, dim=-1).values
        last_N1, next_N1 = best_NK[:, -2:-1], best_NK[:, -1:]
        # The k-th highest of all others: for one of the best k that is the next after them.
        other_NE = torch.where(h_NE >= last_N1, next_N1, last_N1)
        chance_NE: Tensor = torch.special.ndtr((clean_NE - other_NE) / std_NE.clamp_min(1e-10))
        return chance_NE


class _Zero(nn.Module):
    """A linear map (…, D) → (…, E) without bias that starts at zero."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d_out, d_in))

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return F.linear(x, self.weight)
