"""The k experts that score highest for a token, computed.

B batch, T tokens, N = B·T, D model width, E experts, K choices (of experts, or of groups), G groups, M experts of a
group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from blueprint.ops import Flow, Linear, Routing, wide

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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = self.correction
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if before is not None and self.correction is not None and self.correction.itemsize < 4:
            # It is moved in steps that 16 bits would lose.
            self.correction = before.to(self.correction.device)
        return self

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """Every token's k best experts, best first."""
        said = self.said
        x_ND = x_BTD.flatten(0, 1)
        if said.jitter and self.training:
            x_ND = x_ND * torch.empty_like(x_ND).uniform_(1 - said.jitter, 1 + said.jitter)
        logits_NE = wide(self.logits(x_ND))
        if said.softcap is not None:
            logits_NE = said.softcap * torch.tanh(logits_NE / said.softcap)
        score_NE = self._scores(logits_NE)
        by_NE = logits_NE if said.over == "chosen" or said.correction == "logit" else score_NE
        by_NE = by_NE.detach() if self.correction is None else by_NE.detach() + self.correction
        if said.groups is not None:
            by_NE = by_NE.masked_fill(~_within(by_NE, said.groups), -torch.inf)
        expert_NK = by_NE.topk(said.k, dim=-1).indices
        weight_NK = self._weights(logits_NE, score_NE, expert_NK)
        share_NE = score_NE / (score_NE.sum(-1, keepdim=True) + 1e-20) if said.score == "sigmoid" else score_NE
        scaled_NK = weight_NK if said.scale == 1 else weight_NK * said.scale
        routing = Routing(expert_NK, scaled_NK, self.experts, logits_NE, share_NE, by_NE)
        if said.sure_from is None or not self.training:
            return routing
        made_NK = torch.rand_like(weight_NK) * said.sure_from < weight_NK
        first_K = torch.arange(said.k, device=made_NK.device) == 0
        return routing.only(made_NK | first_K)

    def weigh(self, routing: Routing, expert_NK: Tensor) -> Tensor:
        """The weights (N, K) of other choices of the same tokens, choices of no expert counting for nothing."""
        assert routing.logits_NE is not None
        logits_NE, score_NE = routing.logits_NE, self._scores(routing.logits_NE)
        # Not −inf, over which a softmax of nothing else would have no gradient.
        nothing = torch.finfo(logits_NE.dtype).min
        return self._weights(pad(logits_NE, (0, 1), value=nothing), pad(score_NE, (0, 1)), expert_NK) * self.said.scale

    def _scores(self, logits_NE: Tensor) -> Tensor:
        return logits_NE.sigmoid() if self.said.score == "sigmoid" else logits_NE.softmax(-1)

    def _weights(self, logits_NE: Tensor, score_NE: Tensor, expert_NK: Tensor) -> Tensor:
        """What the chosen count for, `scale` aside."""
        said = self.said
        if said.over == "chosen":
            return logits_NE.gather(1, expert_NK).softmax(-1)
        weight_NK = score_NE.gather(1, expert_NK)
        return weight_NK / (weight_NK.sum(-1, keepdim=True) + 1e-20) if said.renormalise else weight_NK


_JUDGED_BY = {"max": 1, "top2_sum": 2}


def _within(by_NE: Tensor, groups: Groups) -> Tensor:
    """(N, E), whether an expert stands in one of its token's best groups."""
    by_NGM = by_NE.unflatten(-1, (groups.count, -1))
    judged_NG = by_NGM.topk(_JUDGED_BY[groups.by], dim=-1).values.sum(-1)
    best_NK = judged_NG.topk(groups.keep, dim=-1).indices
    kept_NG = torch.zeros_like(judged_NG, dtype=torch.bool).scatter_(1, best_NK, True)
    return kept_NG[..., None].expand_as(by_NGM).flatten(1)
