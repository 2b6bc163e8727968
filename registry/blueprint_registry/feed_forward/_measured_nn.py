"""What is measured of experts while a model learns.

N tokens, E experts, K choices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from blueprint.ops import Routing, recomputing


class Measured(nn.Module):
    """Sums over the batches of an optimizer step; no part of what a checkpoint holds."""

    #: The load (E,) asked for, then how many choices were served, the tokens' entropies, and how many tokens; float32.
    sums: Tensor

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts, self.entropies = experts, False
        self.register_buffer("sums", torch.zeros(experts + 3, dtype=torch.float32), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # bfloat16 cannot count past 256.
        self.sums = self.sums.float()
        return self

    @torch.no_grad()
    def add(self, asked: Routing, served: Routing) -> None:
        """Take in a batch: what the router `asked` for, and what was `served` of it; once, if it is computed twice."""
        if recomputing():
            return
        load_E = asked.load()
        found = load_E.sum() if served is asked else served.load().sum()
        keep_N = torch.ones_like(asked.expert_NK[:, 0], dtype=torch.bool) if asked.keep_N is None else asked.keep_N
        entropy, self.entropies = torch.zeros_like(found), asked.probability_NE is not None
        if asked.probability_NE is not None:
            entropy_N = torch.special.entr(asked.probability_NE.float()).sum(-1)
            entropy = torch.where(keep_N, entropy_N, 0.0).sum()
        self.sums += torch.cat([load_E, torch.stack([found, entropy, keep_N.sum().float()])])

    @torch.no_grad()
    def take(self, everyone: Callable[[Tensor], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The load (E,) that the router asked for, and the statistics of all processes since the last time; begins
        anew.

        `load` is what was asked of each expert over the mean (1: even), ahead of any capacity, which would hide how
        uneven a router is; `max_violation` the highest of them less 1 (Wang et al., 2024, eq. 4); `drop_rate` the share
        of choices that nobody served; `router_entropy` that of the probabilities in nats, a mean over tokens: log E
        where a router cannot tell experts apart, 0 where it is sure.
        """
        sums = everyone(self.sums)
        self.sums.zero_()
        load_E, (served, entropy, tokens) = sums[: self.experts], sums[self.experts :]
        even_E = load_E / load_E.mean().clamp_min(1e-20)
        statistics = {
            "load": even_E,
            "max_violation": even_E.max() - 1,
            "drop_rate": 1 - served / load_E.sum().clamp_min(1),
        }
        if self.entropies:
            statistics["router_entropy"] = entropy / tokens.clamp_min(1)
        return load_E, statistics
