"""What balances have in common.

N tokens, E experts, K choices, X any width, B groups of tokens that are judged together (all, or the sequences), T
tokens of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blueprint.ops import Flow, Routing, everyone


def shares(routing: Routing, flow: Flow, *, apart: bool) -> tuple[Tensor, Tensor]:
    """The share of choices that fell on each expert, and the mean of its probabilities, (B, E) each: of all tokens, or
    of every sequence `apart`. Padding counts for nothing."""
    rows = flow.position_BT.shape[0] if apart else None
    chosen_BE = summed(chosen(routing), rows)
    f_BE = chosen_BE / chosen_BE.sum(-1, keepdim=True).clamp_min(1)
    return f_BE, mean(probability(routing), routing, rows)


def chosen(routing: Routing) -> Tensor:
    """(N, E), how often each token chose each expert; float32, whatever torch's default."""
    ones_NK = torch.ones_like(routing.expert_NK, dtype=torch.float32)
    chosen_NE = ones_NK.new_zeros(len(ones_NK), routing.experts + 1)
    return chosen_NE.scatter_add_(1, routing.expert_NK, ones_NK)[:, : routing.experts]


def probability(routing: Routing) -> Tensor:
    """(N, E); the router promises it."""
    assert routing.probability_NE is not None
    return routing.probability_NE


def mean(x_NX: Tensor, routing: Routing, rows: int | None) -> Tensor:
    """(B, X), the mean over the tokens of each of so many equal `rows` of them, or (1, X), over the whole batch's;
    padding counts for nothing."""
    one_N1 = torch.ones_like(x_NX[:, :1]) if routing.keep_N is None else routing.keep_N.to(x_NX.dtype)[:, None]
    return summed(x_NX * one_N1, rows) / summed(one_N1, rows).clamp_min(1)


def summed(x_NX: Tensor, rows: int | None) -> Tensor:
    """(B, X), summed over each of so many equal `rows` of tokens, or (1, X), over the whole batch's."""
    if rows is None:
        return everyone(x_NX.sum(0, keepdim=True))
    sum_BX: Tensor = x_NX.unflatten(0, (rows, -1)).sum(1)
    return sum_BX
