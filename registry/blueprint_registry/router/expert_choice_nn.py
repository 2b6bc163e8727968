"""Experts that choose their tokens, computed.

B batch, T tokens, N = B·T, D model width, E experts, K = E choices, R sets of tokens that are chosen among (sequences,
or the whole batch), S tokens of one, C tokens that an expert takes of one.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Routing, wide

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.expert_choice import ExpertChoice


class ExpertChoiceRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`, with every expert in its own column."""

    def __init__(self, said: ExpertChoice, at: Site) -> None:
        super().__init__()
        self.said, self.experts = said, int(at.extra["experts"])
        self.logits = Linear(at.width, self.experts, bias=False)
        # Of how many tokens an expert takes how many: whole numbers, for the same answer with padding and without.
        self.share = (Fraction(str(said.factor)) / self.experts).as_integer_ratio()

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """The experts that took each token."""
        logits_NE = wide(self.logits(x_BTD.flatten(0, 1)))
        p_NE = logits_NE.softmax(-1)
        rows, (of, tokens) = x_BTD.shape[0] if self.said.over == "sequence" else 1, self.share
        by_RSE = p_NE.detach().unflatten(0, (rows, -1))
        # As many as without padding; where there is some, the last of these are too many.
        most = max(1, by_RSE.shape[1] * of // tokens)
        took = torch.ones((), dtype=torch.bool, device=by_RSE.device)
        if flow.keep_BT is not None:
            keep_RS = flow.keep_BT.reshape(rows, -1)
            by_RSE = by_RSE.masked_fill(~keep_RS[..., None], -1.0)
            kept_R = keep_RS.sum(1)
            room_R = (kept_R * of // tokens).clamp_min(1).minimum(kept_R)
            took = torch.arange(most, device=by_RSE.device)[:, None] < room_R[:, None, None]
        place_RCE = by_RSE.topk(most, dim=1).indices
        chosen_RSE = torch.zeros_like(by_RSE, dtype=torch.bool).scatter_(1, place_RCE, took.expand_as(place_RCE))
        every_E = torch.arange(self.experts, device=p_NE.device)
        routing = Routing(every_E.expand_as(p_NE), p_NE, self.experts, logits_NE, p_NE, p_NE)
        return replace(routing.only(chosen_RSE.flatten(0, 1)), most=rows * most * self.experts)
