"""The k experts that score highest for a token, computed.

B batch, T tokens, N = B·T, D model width, E experts, K choices (of experts, or of groups), G groups, M experts of a
group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Routing

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.top_k import Groups, TopK


class TopKRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`."""

    correction: Tensor | None

    def __init__(self, said: TopK, at: Site) -> None:
        super().__init__()
        self.said, self.experts = said, int(at.extra["experts"])
        self.logits = Linear(at.width, self.experts, bias=said.bias)
        self.register_buffer("correction", torch.zeros(self.experts) if said.correction else None)

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """Every token's k best experts, best first."""
        said = self.said
        x_ND = x_BTD.flatten(0, 1)
        if said.jitter and self.training:
            x_ND = x_ND * torch.empty_like(x_ND).uniform_(1 - said.jitter, 1 + said.jitter)
        logits_NE = self.logits(x_ND).float()
        if said.softcap is not None:
            logits_NE = said.softcap * torch.tanh(logits_NE / said.softcap)
        score_NE = logits_NE.sigmoid() if said.score == "sigmoid" else logits_NE.softmax(-1)
        by_NE = logits_NE if said.over == "chosen" or said.correction == "logit" else score_NE
        by_NE = by_NE if self.correction is None else by_NE + self.correction
        expert_NK = self._choose(by_NE.detach())
        if said.over == "chosen":
            weight_NK = logits_NE.gather(1, expert_NK).softmax(-1)
        else:
            weight_NK = score_NE.gather(1, expert_NK)
        if said.renormalise:
            weight_NK = weight_NK / (weight_NK.sum(-1, keepdim=True) + 1e-20)
        if said.scale != 1:
            weight_NK = weight_NK * said.scale
        share_NE = score_NE / (score_NE.sum(-1, keepdim=True) + 1e-20) if said.score == "sigmoid" else score_NE
        return Routing(expert_NK, weight_NK, self.experts, logits_NE, share_NE, by_NE)

    def _choose(self, by_NE: Tensor) -> Tensor:
        groups = self.said.groups
        if groups is not None:
            by_NE = by_NE.masked_fill(~_within(by_NE, groups), -torch.inf)
        return by_NE.topk(self.said.k, dim=-1).indices


_JUDGED_BY = {"max": 1, "top2_sum": 2}


def _within(by_NE: Tensor, groups: Groups) -> Tensor:
    """(N, E), whether an expert stands in one of its token's best groups."""
    by_NGM = by_NE.unflatten(-1, (groups.count, -1))
    judged_NG = by_NGM.topk(_JUDGED_BY[groups.by], dim=-1).values.sum(-1)
    best_NK = judged_NG.topk(groups.keep, dim=-1).indices
    kept_NG = torch.zeros_like(judged_NG, dtype=torch.bool).scatter_(1, best_NK, True)
    return kept_NG[..., None].expand_as(by_NGM).flatten(1)
