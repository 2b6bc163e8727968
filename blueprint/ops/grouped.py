"""A linear map of many experts at once: rows in groups, a matrix for each group.

R rows, E experts, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from blueprint.ops.flow import readable
from blueprint.ops.room import room

Spans = list[tuple[int, int, int]]
"""`(group, first row, row after the last)` of every group that has rows."""


class Groups:
    """Which rows are whose: rows up to `ends_E[0]` (int32) are the first group's, and so on; rows past the last end
    are nobody's.

    What Python must know of them is read when first asked for, and once: where a kernel needs nothing, nothing waits.
    """

    def __init__(self, ends_E: Tensor | None = None) -> None:
        self.ends_E = ends_E
        self._spans: Spans | None = None

    def follow(self, other: Groups) -> None:
        """Be what the other is: for modules that got their groups before there were any."""
        self.ends_E, self._spans = other.ends_E, other._spans

    @property
    def readable(self) -> bool:
        """Whether Python may see them."""
        return self.ends_E is not None and readable(self.ends_E)

    def spans(self) -> Spans:
        """The groups that have rows, in order."""
        if self._spans is None:
            assert self.ends_E is not None
            self._spans = _spans(self.ends_E)
        return self._spans


def _spans(ends_E: Tensor) -> Spans:
    found, start = [], 0
    for group, end in enumerate(ends_E.tolist()):
        if end > start:
            found.append((group, start, end))
            start = end
    return found


def kernel(dtype: torch.dtype, device: str, widths: tuple[int, int], address: int = 0, traced: bool = False) -> bool:
    """Whether torch's grouped kernel takes such products: of tensors of a dtype, on a device, between two widths.

    Rows and their beginnings (`address`, all of them or-ed) must lie at multiples of 16 bytes. Where shapes alone are
    known (`traced`) only bfloat16 on CUDA goes its way: elsewhere it counts nothing and refuses other types. On CPU it
    is for bfloat16 alone, as products one by one are as quick there and take memory that is kept.
    """
    if any(width * dtype.itemsize % 16 for width in widths) or address % 16:
        return False
    if device == "cuda":
        return dtype == torch.bfloat16 or (not traced and dtype in (torch.float16, torch.float32))
    return device == "cpu" and dtype == torch.bfloat16 and not traced


def multiply(x_RI: Tensor, weight_EIO: Tensor, spans: Spans) -> Tensor:
    """(R, O): every group's rows times its own matrix; rows of nobody are 0."""
    y_RO = room((len(x_RI), weight_EIO.shape[2]), x_RI)
    for group, start, end in spans:
        torch.mm(x_RI[start:end], weight_EIO[group], out=y_RO[start:end])
    y_RO[spans[-1][2] if spans else 0 :].zero_()
    return y_RO


def outer(x_RI: Tensor, y_RO: Tensor, spans: Spans, groups: int) -> Tensor:
    """(E, I, O): every group's rows, transposed, times its other rows; 0 where a group has none."""
    sum_EIO = room((groups, x_RI.shape[1], y_RO.shape[1]), x_RI)
    after = 0
    for group, start, end in spans:
        sum_EIO[after:group].zero_()
        torch.mm(x_RI[start:end].T, y_RO[start:end], out=sum_EIO[group])
        after = group + 1
    sum_EIO[after:].zero_()
    return sum_EIO


@torch.library.custom_op("blueprint::grouped_multiply", mutates_args=())
def _multiply(x_RI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    return multiply(x_RI, weight_EIO, _spans(ends_E))


@torch.library.custom_op("blueprint::grouped_outer", mutates_args=())
def _outer(x_RI: Tensor, y_RO: Tensor, ends_E: Tensor) -> Tensor:
    return outer(x_RI, y_RO, _spans(ends_E), len(ends_E))


@_multiply.register_fake
def _(x_RI: Tensor, weight_EIO: Tensor, ends_E: Tensor) -> Tensor:
    return x_RI.new_empty(len(x_RI), weight_EIO.shape[2])


@_outer.register_fake
def _(x_RI: Tensor, y_RO: Tensor, ends_E: Tensor) -> Tensor:
    return x_RI.new_empty(len(ends_E), x_RI.shape[1], y_RO.shape[1])


@register_flop_formula(torch.ops.blueprint.grouped_multiply)
def _(x_RI: Any, weight_EIO: Any, *_: Any, **__: Any) -> int:
    return int(2 * x_RI[0] * weight_EIO[1] * weight_EIO[2])


@register_flop_formula(torch.ops.blueprint.grouped_outer)
def _(x_RI: Any, y_RO: Any, *_: Any, **__: Any) -> int:
    return int(2 * x_RI[0] * x_RI[1] * y_RO[1])


class _Multiply(torch.autograd.Function):
    """Rows times matrices; where spans are None, by operations that need not know them."""

    @staticmethod
    def forward(ctx: Any, x_RI: Tensor, weight: Tensor, ends_E: Tensor, spans: Spans | None, turned: bool) -> Tensor:
        """`weight` is (E, O, I) if turned, else (E, I, O)."""
        ctx.save_for_backward(x_RI, weight, ends_E)
        ctx.spans, ctx.turned = spans, turned
        weight_EIO = weight.mT if turned else weight
        return _multiply(x_RI, weight_EIO, ends_E) if spans is None else multiply(x_RI, weight_EIO, spans)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The same products, and sums of outer products."""
        x_RI, weight, ends_E = ctx.saved_tensors
        (g_RO,) = grads
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _products(g_RO, weight, ends_E, ctx.spans, not ctx.turned)
        if ctx.needs_input_grad[1]:
            pair = (g_RO, x_RI) if ctx.turned else (x_RI, g_RO)
            grad_weight = _Outer.apply(*pair, ends_E, ctx.spans)  # type: ignore[no-untyped-call]
        return grad_x, grad_weight, None, None, None


class _Outer(torch.autograd.Function):
    """Rows, transposed, times rows, for each group."""

    @staticmethod
    def forward(ctx: Any, x_RI: Tensor, y_RO: Tensor, ends_E: Tensor, spans: Spans | None) -> Tensor:
        """(E, I, O)."""
        ctx.save_for_backward(x_RI, y_RO, ends_E)
        ctx.spans = spans
        return _outer(x_RI, y_RO, ends_E) if spans is None else outer(x_RI, y_RO, spans, len(ends_E))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Rows times matrices again."""
        x_RI, y_RO, ends_E = ctx.saved_tensors
        grad_x = _products(y_RO, grads[0], ends_E, ctx.spans, True)
        return grad_x, _products(x_RI, grads[0], ends_E, ctx.spans, False), None, None


def _products(x_RI: Tensor, weight: Tensor, ends_E: Tensor, spans: Spans | None, turned: bool) -> Tensor:
    return _Multiply.apply(x_RI, weight, ends_E, spans, turned)  # type: ignore[no-any-return, no-untyped-call]


class _Dense(torch.autograd.Function):
    """Its input; the gradient is made dense, which the grouped kernel asks for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same values."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """The same values."""
        return grads[0].contiguous()


def grouped_linear(x_RI: Tensor, weight_EOI: Tensor, groups: Groups) -> Tensor:
    """(R, O): every group's rows times its own matrix, transposed; what comes of nobody's rows is undefined.

    Under autocast in its dtype, as any linear map.
    """
    assert groups.ends_E is not None
    device = x_RI.device.type
    if device != "meta" and torch.is_autocast_enabled(device) and x_RI.dtype != torch.float64:
        low = torch.get_autocast_dtype(device)
        x_RI, weight_EOI = x_RI.to(low), weight_EOI.to(low)
    x_RI, weight_EOI = x_RI.contiguous(), weight_EOI.contiguous()
    traced = not groups.readable
    address = 0 if traced else x_RI.data_ptr() | weight_EOI.data_ptr()
    widths = (weight_EOI.shape[2], weight_EOI.shape[1])
    if kernel(x_RI.dtype, device, widths, address, traced):
        return _Dense.apply(F.grouped_mm(x_RI, weight_EOI.mT, offs=groups.ends_E))  # type: ignore[no-any-return, no-untyped-call]
    spans = None if traced else groups.spans()
    return _products(x_RI, weight_EOI, groups.ends_E, spans, True)


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
            y_RO = y_RO + rows_of(self.bias, self.groups, len(x_RI)).to(y_RO.dtype)
        y: Tensor = y_RO.unflatten(0, x.shape[:-1])
        return y

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"copies={self.copies}, {self.weight.shape[2]} -> {self.weight.shape[1]}, bias={self.bias is not None}"


def rows_of(table_EO: Tensor, groups: Groups, rows: int) -> Tensor:
    """(R, O): for every row the line of its group, and 0 for those of nobody."""
    assert groups.ends_E is not None
    group_R = torch.searchsorted(
        groups.ends_E, torch.arange(rows, device=table_EO.device, dtype=torch.int32), right=True
    )
    return F.embedding(group_R, F.pad(table_EO, (0, 0, 0, 1)))
