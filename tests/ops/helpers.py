"""Inputs and an attention written out in loops' spirit: the definition, with no trick in it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blueprint.ops import Flow, Keys, attend
from blueprint.visible import Visible

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 6e-2, torch.float16: 8e-3}


def definition(
    q_BHTE: Tensor,
    k_BGSE: Tensor,
    v_BGSV: Tensor,
    visible: Visible,
    scale: float,
    order_BT: Tensor,
    keep_BT: Tensor | None = None,
    segment_BT: Tensor | None = None,
    softcap: float | None = None,
    bias_BHTS: Tensor | None = None,
    sink_H: Tensor | None = None,
) -> Tensor:
    """Self-attention by exponentials and sums, in the dtype given."""
    repeat = q_BHTE.shape[1] // k_BGSE.shape[1]
    k, v = (x.repeat_interleave(repeat, 1) for x in (k_BGSE, v_BGSV))
    s = torch.einsum("bhte,bhse->bhts", q_BHTE, k) * scale
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    if bias_BHTS is not None:
        s = s + bias_BHTS
    distance = order_BT[:, :, None] - order_BT[:, None, :]
    seen = torch.ones_like(distance, dtype=torch.bool)
    if visible.back is not None:
        seen &= distance <= visible.back
    if visible.ahead is not None:
        seen &= -distance <= visible.ahead
    for test in visible.tests:
        seen &= test(order_BT[:, :, None], order_BT[:, None, :])
    if visible.same_segment and segment_BT is not None:
        seen &= segment_BT[:, :, None] == segment_BT[:, None, :]
    if keep_BT is not None:
        seen &= keep_BT[:, None, :] & keep_BT[:, :, None]
    most = s.detach().amax(-1, keepdim=True)
    if sink_H is not None:
        most = torch.maximum(most, sink_H.detach()[:, None, None])
    e = (s - most).exp() * seen[:, None]
    total = e.sum(-1, keepdim=True)
    if sink_H is not None:
        total = total + (sink_H[:, None, None] - most).exp()
    return torch.einsum("bhts,bhsv->bhtv", e / total.masked_fill(total == 0, 1.0), v)


class Sample:
    """Seeded queries, keys and values that want gradients."""

    def __init__(
        self, batch=2, heads=4, groups=2, length=80, width=8, value=8, dtype=torch.float64, seed=0, sinks=False
    ) -> None:
        g = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()

        self.q, self.k = draw(batch, heads, length, width), draw(batch, groups, length, width)
        self.v = draw(batch, groups, length, value)
        self.sink = draw(heads) if sinks else None
        self.up = torch.randn(batch, heads, length, value, generator=g, dtype=torch.float64).to(dtype)
        self.scale = 1 / math.sqrt(width)
        self.batch, self.length = batch, length

    def leaves(self) -> list[Tensor]:
        return [self.q, self.k, self.v] + ([] if self.sink is None else [self.sink])

    def gradients(self, o: Tensor) -> list[Tensor]:
        """The output itself, then the gradient for every input."""
        return [o.detach(), *torch.autograd.grad(o, self.leaves(), self.up)]

    def flow(self, keep: Tensor | None = None, segment: Tensor | None = None) -> Flow:
        return Flow.of(self.batch, self.length, "cpu", keep, segment_ids=segment)

    def attend(self, flow: Flow, visible: Visible, backend: str | None = None, **options) -> list[Tensor]:
        keys = Keys.of(self.k, self.v, flow)
        o = attend(
            self.q, keys, flow=flow, visible=visible, scale=self.scale, sink_H=self.sink, backend=backend, **options
        )
        return self.gradients(o)

    def define(self, flow: Flow, visible: Visible, bias=None, **options) -> list[Tensor]:
        bias_BHTS = None if bias is None else bias(flow.position_BT, flow.position_BT)
        q, k, v = self.q, self.k, self.v
        o = definition(
            q,
            k,
            v,
            visible,
            self.scale,
            flow.order_BT,
            flow.keep_BT,
            flow.segment_BT,
            bias_BHTS=bias_BHTS,
            sink_H=self.sink,
            **options,
        )
        return self.gradients(o)


def padding(kind: str, batch: int, length: int) -> Tensor | None:
    """Attention masks; in the last row of `empty` nothing is real."""
    if kind == "none":
        return None
    index = torch.arange(length)
    count = torch.tensor([length - 7 * row - 5 for row in range(batch)])[:, None]
    if kind == "right":
        return index < count
    if kind == "left":
        return index >= length - count
    if kind == "empty":
        return (index < count) & (torch.arange(batch)[:, None] < batch - 1)
    return (index % 5 != 3) & (index < count)  # holes


def close(a: list[Tensor], b: list[Tensor], tolerance: float) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.isfinite().all()
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * max(1.0, float(y.abs().max())))
