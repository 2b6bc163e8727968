"""Room for so many tokens at every expert, computed.

B batch, T tokens, N = B·T, E experts, K choices of a token, P = N·K, G groups of experts with room of their own, C
companies of tokens that compete for it, R = C·(G + 1) rooms, one a company being that of choices that came to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Routing, counts
from blueprint.ops.flow import readable

if TYPE_CHECKING:
    from blueprint_registry.feed_forward._capacity import Capacity

Weigh = Callable[[Routing, Tensor], Tensor]
"""`(routing, expert_NK) -> weight_NK`: what a router weighs other choices of its tokens with."""


class Places(nn.Module):
    """`(routing, flow, weigh) -> Routing`: what is served of what a router asks for."""

    def __init__(self, said: Capacity, choices: float, experts: int, groups: int | None) -> None:
        super().__init__()
        self.said = said
        self.groups = experts if said.per == "expert" or groups is None else groups
        self.share = None if said.factor is None else said.room(choices, Fraction(1, self.groups))

    def forward(self, asked: Routing, flow: Flow, weigh: Weigh | None) -> Routing:
        """The routing without the choices that find no place, or with others in their stead."""
        if not (self.training or self.said.at_inference):
            return asked
        batch, length = flow.position_BT.shape
        apart = self.said.over == "sequence"
        index_N1 = torch.arange(batch * length, device=asked.expert_NK.device)[:, None]
        company_N1 = index_N1 // length if apart else torch.zeros_like(index_N1)
        room_C = self._room(asked, *((batch, length) if apart else (1, batch * length)))
        order_P = _ORDERS[self.said.keep](asked)
        real_NK = asked.expert_NK < asked.experts
        hall = _Hall(asked.experts, self.groups, company_N1, room_C, order_P)
        if not self.said.spared or not self.training:
            served_NK = hall.placed(asked.expert_NK) & real_NK
        else:
            spared_N1 = self._spared(batch, flow)[index_N1 // length]
            spared_P = spared_N1.expand_as(real_NK).flatten()[order_P]
            hall = replace(hall, order_P=order_P[spared_P.byte().argsort(descending=True, stable=True)])
            served_NK = (hall.placed(asked.expert_NK) | spared_N1) & real_NK
        if self.said.overflow == "drop" or weigh is None:
            return asked.only(served_NK)
        expert_NK, served_NK = hall.rerouted(asked, served_NK)
        moved_N1 = (expert_NK != asked.expert_NK).any(1, keepdim=True)
        weight_NK = torch.where(moved_N1, weigh(asked, expert_NK), asked.weight_NK)
        return replace(asked, expert_NK=expert_NK, weight_NK=weight_NK).only(served_NK)

    def _room(self, asked: Routing, companies: int, tokens: int) -> Tensor:
        device = asked.expert_NK.device
        if self.share is None:
            return torch.full((companies,), self.said.tokens or 0, device=device)
        count_C = torch.full((companies,), tokens, device=device)
        if asked.keep_N is not None:
            count_C = asked.keep_N.view(companies, tokens).sum(1)
        # In whole numbers: what is just enough must not fail by a rounding.
        return -(count_C * -self.share.numerator // self.share.denominator)

    def _spared(self, batch: int, flow: Flow) -> Tensor:
        """(B,), which sequences lose nothing, in any layer."""
        key = ("spared", self.said.spared)
        if key not in flow.memo:
            flow.memo[key] = torch.rand(batch, device=flow.position_BT.device) < self.said.spared
        drawn: Tensor = flow.memo[key]
        return drawn


@dataclass(frozen=True)
class _Hall:
    """Where choices look for places: `room_C` for each group of experts and each company; they come in `order_P`."""

    experts: int
    groups: int
    company_N1: Tensor
    room_C: Tensor
    order_P: Tensor

    def placed(self, expert_NK: Tensor, used_R: Tensor | None = None) -> Tensor:
        """(N, K), which of these choices find a place, beside those `used_R` already."""
        room_NK = self._room_number(expert_NK)
        sorted_P, place_P = room_NK.flatten()[self.order_P].sort(stable=True)
        index_P = torch.arange(len(sorted_P), device=sorted_P.device)
        ahead_P = index_P - torch.searchsorted(sorted_P, sorted_P)
        ahead_NK = torch.empty_like(ahead_P).scatter_(0, self.order_P[place_P], ahead_P).view_as(room_NK)
        if used_R is not None:
            ahead_NK = ahead_NK + used_R[room_NK]
        return ahead_NK < self.room_C[self.company_N1]

    def rerouted(self, asked: Routing, served_NK: Tensor) -> tuple[Tensor, Tensor]:
        """The experts of all choices, those without a place sent on, and which are served then.

        In every round each such choice asks for the best expert that its token has not got and that has room, two of a
        token for two experts. Those that lose leave that expert without room, so rounds end.
        """
        none = self.experts
        expert_NK, choices = asked.expert_NK, asked.expert_NK.shape[1]
        real_NK = expert_NK < none
        assert asked.score_NE is not None
        score_NE = asked.score_NE.detach()
        # Where values cannot be read, and none are computed, one round has the shapes of all.
        rounds = none if readable(expert_NK) or torch.compiler.is_compiling() else 1
        for _ in range(rounds):
            left_NK = real_NK & ~served_NK
            if readable(left_NK) and not left_NK.any():
                break
            held_NK = torch.where(served_NK, expert_NK, none)
            used_R = counts(self._room_number(held_NK).flatten(), len(self.room_C) * (self.groups + 1)).long()
            full_CG = used_R.view(-1, self.groups + 1)[:, :-1] >= self.room_C[:, None]
            full_NE = full_CG.repeat_interleave(none // self.groups, 1)[self.company_N1[:, 0]]
            closed_NE = torch.zeros(len(held_NK), none + 1, dtype=torch.bool, device=held_NK.device)
            closed_NE = closed_NE.scatter_(1, held_NK, True)[:, :none] | full_NE
            best_NK = score_NE.masked_fill(closed_NE, -torch.inf).topk(choices, dim=-1)
            nth_NK = (left_NK.cumsum(1) - 1).clamp_min(0)
            next_NK = best_NK.indices.gather(1, nth_NK)
            left_NK = left_NK & (best_NK.values.gather(1, nth_NK) > -torch.inf)
            won_NK = left_NK & self.placed(torch.where(left_NK, next_NK, none), used_R)
            if readable(won_NK) and not left_NK.any():
                break
            expert_NK, served_NK = torch.where(won_NK, next_NK, expert_NK), served_NK | won_NK
        return expert_NK, served_NK

    def _room_number(self, expert_NK: Tensor) -> Tensor:
        """Numbers of company and group; what goes to no expert has one of its own in every company."""
        return self.company_N1 * (self.groups + 1) + expert_NK // (self.experts // self.groups)


def _first(asked: Routing) -> Tensor:
    return torch.arange(asked.expert_NK.numel(), device=asked.expert_NK.device)


def _first_choices(asked: Routing) -> Tensor:
    return _first(asked).view_as(asked.expert_NK).T.flatten()


def _best(asked: Routing) -> Tensor:
    return asked.weight_NK.detach().flatten().argsort(descending=True, stable=True)


def _best_tokens(asked: Routing) -> Tensor:
    best_N = asked.weight_NK.detach().amax(1).argsort(descending=True, stable=True)
    return _first(asked).view_as(asked.expert_NK)[best_N].T.flatten()


_ORDERS = {"first": _first, "first_choices": _first_choices, "best": _best, "best_tokens": _best_tokens}
