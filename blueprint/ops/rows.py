"""Rows: tokens' vectors out to where experts work on them, and their sums back.

N tokens, P choices that came to something, R rows at work (P, or more where rows of nobody follow), D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blueprint.ops.flow import readable
from blueprint.ops.room import room


@dataclass(frozen=True, eq=False)
class Rows:
    """Where rows come from and go: `token_R` is whose each is; `row_P` are the rows of the first token in the order of
    its choices, then those of the next, from `start_N` on.
    """

    token_R: Tensor
    row_P: Tensor
    start_N: Tensor

    def spread(self, x_ND: Tensor) -> Tensor:
        """(R, D): each row its token's vector."""
        if readable(x_ND):
            return _Spread.apply(x_ND, self)  # type: ignore[no-any-return, no-untyped-call]
        return F.embedding(self.token_R, x_ND)

    def collect(self, y_RD: Tensor, weight_P: Tensor | None = None) -> Tensor:
        """(N, D): the sum of each token's rows, in the order of its choices, times their weights if there are any."""
        if readable(y_RD):
            return _Collect.apply(y_RD, weight_P, self)  # type: ignore[no-any-return, no-untyped-call]
        return _sums(y_RD, weight_P, self)


def _sums(y_RD: Tensor, weight_P: Tensor | None, rows: Rows) -> Tensor:
    return F.embedding_bag(rows.row_P, y_RD, rows.start_N, mode="sum", per_sample_weights=weight_P)


class _Spread(torch.autograd.Function):
    """Rows into memory that is kept."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, rows: Rows) -> Tensor:
        """(R, D)."""
        ctx.rows = rows
        x_RD = room((len(rows.token_R), x_ND.shape[1]), x_ND)
        return torch.index_select(x_ND, 0, rows.token_R, out=x_RD)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        """The sum of a token's rows, always in one order."""
        return ctx.rows.collect(grads[0]), None


class _Collect(torch.autograd.Function):
    """Weighted sums whose gradients are made row by row, with no product of rows in between."""

    @staticmethod
    def forward(ctx: Any, y_RD: Tensor, weight_P: Tensor | None, rows: Rows) -> Tensor:
        """(N, D)."""
        # Without weights gradients do not depend on values.
        ctx.save_for_backward(*(() if weight_P is None else (y_RD, weight_P)))
        ctx.rows = rows
        return _sums(y_RD, weight_P, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """A row's gradient is its token's, weighted; a weight's is the product of both."""
        rows: Rows = ctx.rows
        (g_ND,) = grads
        # Asked for once: what is recomputed may not be asked for again.
        saved = ctx.saved_tensors
        if not saved:
            return rows.spread(g_ND), None, None
        y_RD, weight_P = saved
        weight_R1 = weight_P.new_zeros(len(y_RD), 1).index_copy(0, rows.row_P, weight_P[:, None])
        if torch.is_grad_enabled():  # these gradients are to have gradients
            g_RD = rows.spread(g_ND)
            return g_RD * weight_R1, (g_RD * y_RD).sum(-1)[rows.row_P], None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            with torch.enable_grad():
                free_P = weight_P.detach().requires_grad_()
                (grad_weight,) = torch.autograd.grad(_sums(y_RD.detach(), free_P, rows), free_P, g_ND)
        return rows.spread(g_ND).mul_(weight_R1), grad_weight, None
