"""What processes do together, and its gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def summed(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """`x` summed over the processes of a group (None: all); its gradient is that of the sum of their losses, so that
    the mean of their gradients is the gradient of one loss that they all have."""
    total: Tensor = _Summed.apply(x, group)
    return total


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _sum(grads[0], ctx.group), None


def _sum(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total
