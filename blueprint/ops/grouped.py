"""A linear map of many experts at once: rows in groups, a matrix for each group.

R rows, E experts, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(eq=False)
class Groups:
    """Which rows are whose, set by who runs the experts: rows up to `ends_E[0]` are the first one's, and so on.

    `ends` is the same in Python where it can be known without waiting (None: elsewhere).
    """

    ends_E: Tensor | None = None
    ends: list[int] | None = None


def grouped_linear(x_RI: Tensor, weight_EOI: Tensor, groups: Groups) -> Tensor:
    """(R, O): every group's rows times its own matrix, transposed."""
    if groups.ends is None:
        return F.linear(x_RI, weight_EOI[0])
    weights = weight_EOI.unbind(0)
    starts = [0, *groups.ends[:-1]]
    return torch.cat([x_RI[a:b] @ w.T for a, b, w in zip(starts, groups.ends, weights, strict=True)])


class GroupedLinear(nn.Module):
    """`copies` linear maps with stacked weights (E, O, I) and biases (E, O); a row's group says which is its own."""

    def __init__(self, copies: int, d_in: int, d_out: int, bias: bool, role: str, groups: Groups) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(copies, d_out, d_in))
        self.bias = nn.Parameter(torch.zeros(copies, d_out)) if bias else None
        self.copies, self.role, self.groups = copies, role, groups

    def forward(self, x: Tensor) -> Tensor:
        """(…, R, I) to (…, R, O), the rows of all leading axes in one order."""
        x_RI = x.flatten(0, -2)
        y_RO = grouped_linear(x_RI, self.weight, self.groups)
        if self.bias is not None:
            y_RO = y_RO + rows_of(self.bias, self.groups, len(x_RI))
        return y_RO.unflatten(0, x.shape[:-1])

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"copies={self.copies}, {self.weight.shape[2]} -> {self.weight.shape[1]}, bias={self.bias is not None}"


def rows_of(table_EO: Tensor, groups: Groups, rows: int) -> Tensor:
    """(R, O): for every row the line of its group."""
    assert groups.ends_E is not None
    return table_EO[torch.searchsorted(groups.ends_E, torch.arange(rows, device=table_EO.device), right=True)]


Run = Callable[[Tensor, Groups], Tensor]
"""`(x_RD, groups) -> y_RD`."""
