"""What is measured of experts while a model learns.

N tokens, E experts, K choices.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from blueprint.ops import Routing


class Measured(nn.Module):
    """Sums over the batches of an optimizer step; no part of what a checkpoint holds."""

    load: Tensor
    asked: Tensor
    entropy: Tensor
    tokens: Tensor

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.register_buffer("load", torch.zeros(experts), persistent=False)
        for name in ("asked", "entropy", "tokens"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    @torch.no_grad()
    def add(self, asked: Routing, served: Routing) -> None:
        """Take in a batch: what the router `asked` for, and what was `served` of it."""
        load_E = served.load()
        self.load += load_E
        self.asked += load_E.sum() if served is asked else asked.load().sum()
        keep_N = torch.ones_like(asked.expert_NK[:, 0], dtype=torch.bool) if asked.keep_N is None else asked.keep_N
        self.tokens += keep_N.sum()
        if asked.probability_NE is not None:
            entropy_N = torch.special.entr(asked.probability_NE).sum(-1)
            self.entropy += torch.where(keep_N, entropy_N, 0.0).sum()

    @torch.no_grad()
    def take(self, everyone: Callable[[Tensor], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The load (E,), and the statistics of all processes since the last time; begins anew.

        `load` is each expert's over the mean (1: even), `max_violation` the highest of them less 1 (Wang et al., 2024,
        eq. 4), `drop_rate` the share of choices not served, `router_entropy` in nats, a mean over tokens.
        """
        load_E, asked, entropy, tokens = (everyone(each) for each in (self.load, self.asked, self.entropy, self.tokens))
        for each in (self.load, self.asked, self.entropy, self.tokens):
            each.zero_()
        even_E = load_E / load_E.mean().clamp_min(1e-20)
        return load_E, {
            "load": even_E,
            "max_violation": even_E.max() - 1,
            "drop_rate": 1 - load_E.sum() / asked.clamp_min(1),
            "router_entropy": entropy / tokens.clamp_min(1),
        }
