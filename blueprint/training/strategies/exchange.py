"""Experts divided among processes: every row travels to the process that holds its expert, and back.

R rows, E experts, P processes of a group, L = E / P experts of each, N rows that came from all of them, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from blueprint.ops import Flow, Groups
from blueprint.ops.stacked import run_here


class Exchange:
    """What stands in for running stacked experts where each process of `group` has L of them, in the order of ranks
    (Lepikhin et al., 2021, *GShard*, §3.3: the all-to-all of dispatch and that of combination)."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.processes = group, dist.get_world_size(group)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, many: nn.Module, x_RD: Tensor, flow: Flow, groups: Groups) -> tuple[Tensor, dict[str, Tensor]]:
        """Rows (R, D) in groups, each through its expert wherever that is: (R, D) and the terms of those here."""
        assert groups.ends_E is not None
        counts_PL = groups.ends_E.diff(prepend=groups.ends_E.new_zeros(1)).view(self.processes, -1)
        came_PL = torch.empty_like(counts_PL)
        dist.all_to_all_single(came_PL, counts_PL, group=self.group)
        # Splits are read by Python: each process must know how much room the others' rows take.
        send, take = counts_PL.sum(1).tolist(), came_PL.sum(1).tolist()
        rows = sum(send)
        x_ND = _Travel.apply(x_RD[:rows].contiguous(), send, take, self.group)
        place_N = _by_expert(came_PL)
        ends_L = came_PL.sum(0).cumsum(0).int()
        y_ND, terms = run_here(many, x_ND[place_N], flow, Groups(ends_L))
        back_ND = torch.empty_like(y_ND).index_copy(0, place_N, y_ND)
        y_RD = _Travel.apply(back_ND, take, send, self.group)
        if rows < len(x_RD):
            y_RD = torch.cat((y_RD, y_RD.new_zeros(len(x_RD) - rows, y_RD.shape[1])))
        return y_RD, terms


def _by_expert(came_PL: Tensor) -> Tensor:
    """(N,) where the rows, which lie by process and then by expert, are found by expert and then by process."""
    expert_PL = torch.arange(came_PL.shape[1], device=came_PL.device).expand_as(came_PL)
    return expert_PL.flatten().repeat_interleave(came_PL.flatten()).argsort(stable=True)


class _Travel(torch.autograd.Function):
    """All-to-all of rows; their gradients travel back the same way."""

    @staticmethod
    def forward(ctx: Any, x_RD: Tensor, send: list[int], take: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.send, ctx.take, ctx.group = send, take, group
        return _travel(x_RD, send, take, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _travel(grads[0].contiguous(), ctx.take, ctx.send, ctx.group), None, None, None


def _travel(x_RD: Tensor, send: list[int], take: list[int], group: dist.ProcessGroup) -> Tensor:
    y_ND = x_RD.new_empty(sum(take), x_RD.shape[1])
    dist.all_to_all_single(y_ND, x_RD, take, send, group=group)
    return y_ND
