"""What processes do together, and its gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def summed(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """`x` summed over the processes of a group (None: all); its gradient is that of the sum of their losses, so that
    the mean of their gradients is the gradient of one loss that they all have."""
    total: Tensor = _Summed.apply(x, group)  # type: ignore[no-untyped-call]
    return total


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _sum(grads[0], ctx.group), None


def rows(x_NX: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, slice]:
    """The rows (M, X) of all processes of a group, in their order, and the place of this one's; each has as many. Their
    gradient is that of the sum of the processes' losses."""
    all_MX: Tensor = _Rows.apply(x_NX, group)  # type: ignore[no-untyped-call]
    first = dist.get_rank(group) * len(x_NX)
    return all_MX, slice(first, first + len(x_NX))


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NX: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        each = [torch.empty_like(x_NX) for _ in range(dist.get_world_size(group))]
        dist.all_gather(each, x_NX.detach().contiguous(), group=group)
        return torch.cat(each)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _sum(grads[0], ctx.group).chunk(dist.get_world_size(ctx.group))[dist.get_rank(ctx.group)], None


def _sum(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total
