"""attend: the one function through which all attention flows.

B batch, T queries, S keys, H heads, G key-value heads, E key width, V value width.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from blueprint.choice import BackendError, choose
from blueprint.ops.backends import BACKENDS
from blueprint.ops.backends.sdpa import dot_product
from blueprint.ops.flow import Flow
from blueprint.ops.keys import Keys
from blueprint.ops.meter import attention_flops, metered, report
from blueprint.ops.work import Bias, Content, Side, Values, Work
from blueprint.visible import Visible


def attend(
    q_BHTE: Tensor,
    keys: Keys,
    *,
    flow: Flow,
    visible: Visible,
    scale: float,
    softcap: float | None = None,
    bias: Bias | None = None,
    content: Content | None = None,
    values: Values | None = None,
    sink_H: Tensor | None = None,
    dropout: float = 0.0,
    backend: str | None = None,
    float32: bool = True,
) -> Tensor:
    """Attention (B, H, T, V) of queries (B, H, T, E) over keys of G heads, G dividing H.

    The scores are cap(q·k·scale) + content·scale + bias; what `visible` hides and what is padding is left out; the
    softmax has one more logit for a sink; `values` of the weights join what they gather; `dropout` is the rate to apply
    now (0 in evaluation). Padded queries, and queries that see nothing, give exactly 0. Softmaxes of 16-bit scores are
    taken in float32; with `float32=False` those written out here are not (the fused kernels have no choice). The
    cheapest backend that can do it is taken, unless one is named. Raises ValueError if the named one cannot.
    """
    queries, total = q_BHTE.shape[2], keys.k_BGSE.shape[2]
    if keys.k_BGSE.dtype != q_BHTE.dtype:
        keys = keys.cast(q_BHTE.dtype)
    if metered():
        width = q_BHTE.shape[3] + keys.v_BGSV.shape[3]
        batch, heads = q_BHTE.shape[:2]
        report(attention_flops(visible, batch, heads, queries, total, width))
        if q_BHTE.is_meta:
            o_BHTV: Tensor = _Shape.apply(q_BHTE, keys.k_BGSE, keys.v_BGSV, sink_H)  # type: ignore[no-untyped-call]
            return _counted(o_BHTV, q_BHTE, keys, flow, content, values)
    special = any(each is not None for each in (softcap, bias, content, values, sink_H, backend))
    if queries == 1 and keys.plain and not special and _sees_all(visible, keys, total):
        return dot_product(q_BHTE, keys.k_BGSE, keys.v_BGSV, None, False, scale, dropout)
    if flow.reach_BT is not None and visible.ahead == 0:
        visible = visible.prefixed()
    visible = _bounded(visible, keys, flow)
    padded = keys.fresh and flow.keep_BT is not None
    plain = keys.plain or (padded and visible.ahead == 0)
    choice = choose(
        visible,
        plain=plain,
        softcap=softcap is not None,
        bias=bias is not None or content is not None,
        values=values is not None,
        sinks=sink_H is not None,
        dropout=dropout,
        device=q_BHTE.device.type,
        q_len=queries,
        k_len=total,
        forced=backend,
    )
    if choice.name == "blocked" and not keys.fresh:
        raise BackendError("attention backend 'blocked' cannot: the keys are not this forward's own tokens")
    if choice.name != "dense" and backend is None:
        visible = visible.within(total)
    work = Work(
        q_BHTE,
        keys.k_BGSE,
        keys.v_BGSV,
        visible,
        plain=keys.plain,
        fresh=keys.fresh,
        sides=lambda: (_queries(flow), _keys(flow, keys)),
        scale=scale,
        softcap=softcap,
        bias=bias,
        sink_H=sink_H,
        dropout=dropout,
        memo=flow.memo,
        float32=float32,
        content=content,
        values=values,
    )
    packing = padded and choice.name != "dense" and (visible.ahead == 0 or visible.back is not None)
    if packing:
        work = _packed(work, flow)
    o_BHTV = BACKENDS[choice.name](work)
    if packing and flow.unpack_BT is not None:
        o_BHTV = _take(o_BHTV, flow.unpack_BT)
    return o_BHTV if flow.keep_BT is None else o_BHTV.masked_fill(~flow.keep_BT[:, None, :, None], 0.0)


def _sees_all(visible: Visible, keys: Keys, total: int) -> bool:
    """Whether the latest token sees each of the `total` latest tokens."""
    near = visible.back is None or total <= visible.back + 1
    return near and not visible.tests and (keys.segment_BS is None or not visible.same_segment)


def _bounded(visible: Visible, keys: Keys, flow: Flow) -> Visible:
    """The mask with documents left out where there are none, and as a band where none is longer than so much."""
    if not visible.same_segment:
        return visible
    if keys.segment_BS is None or flow.segment_BT is None:
        return _with(visible, False, None)
    return _with(visible, True, flow.longest) if keys.fresh else visible


@lru_cache(maxsize=1024)
def _with(visible: Visible, same_segment: bool, longest: int | None) -> Visible:
    visible = replace(visible, same_segment=same_segment)
    return visible if longest is None else visible & Visible(longest - 1, longest - 1)


def _rows(flow: Flow, x_BN: Tensor) -> Tensor:
    """One row for all where they are equal by construction; the same tensor each time it is asked."""
    if x_BN.stride(0) != 0 or x_BN.shape[0] == 1:
        return x_BN
    key = ("row", x_BN)
    if key not in flow.memo:
        flow.memo[key] = x_BN[:1]
    row_1N: Tensor = flow.memo[key]
    return row_1N


def _queries(flow: Flow) -> Side:
    order_BT, position_BT = _rows(flow, flow.order_BT), _rows(flow, flow.position_BT)
    return Side(order_BT, position_BT, flow.segment_BT, reach=flow.reach_BT)


def _keys(flow: Flow, keys: Keys) -> Side:
    return Side(_rows(flow, keys.order_BS), _rows(flow, keys.position_BS), keys.segment_BS, keys.keep_BS)


def _packed(work: Work, flow: Flow) -> Work:
    """The same with each row's kept tokens first, so that places are indices again.

    Under a causal mask no kept query then reaches the padding behind it, which makes it plain.
    """
    pack_BT = flow.pack_BT
    if pack_BT is not None:
        q, k, v = (_take(x, pack_BT) for x in (work.q_BHTE, work.k_BGSE, work.v_BGSV))
        work = replace(work, q_BHTE=q, k_BGSE=k, v_BGSV=v)
    causal = work.visible.ahead == 0

    def sides() -> tuple[Side, Side]:
        key = ("packed", causal)
        if key not in flow.memo:
            order_1T = torch.arange(flow.order_BT.shape[1], device=flow.order_BT.device)[None]
            lines = (flow.position_BT, flow.segment_BT, None if causal else flow.keep_BT, flow.reach_BT)
            if pack_BT is not None:
                lines = tuple(None if line is None else line.gather(1, pack_BT) for line in lines)  # type: ignore[assignment]
            position, segment, keep, reach = lines
            queries = Side(order_1T, position, segment, reach=reach)
            flow.memo[key] = queries, Side(order_1T, position, segment, keep)
        both: tuple[Side, Side] = flow.memo[key]
        return both

    return replace(work, plain=causal, sides=sides)


def _take(x_BHTE: Tensor, index_BT: Tensor) -> Tensor:
    return x_BHTE.gather(2, index_BT[:, None, :, None].expand_as(x_BHTE))


def _counted(
    o_BHTV: Tensor, q_BHTE: Tensor, keys: Keys, flow: Flow, content: Content | None, values: Values | None
) -> Tensor:
    """The result's shape, with the products of what positions add to scores and values seen by torch's counter."""
    if content is not None:
        score_BHTS = content(q_BHTE, keys.k_BGSE, flow.position_BT, keys.position_BS)
        o_BHTV = o_BHTV + score_BHTS.sum(-1, keepdim=True)
    if values is not None:
        p_BHTS = q_BHTE.new_empty(*q_BHTE.shape[:3], keys.k_BGSE.shape[2])
        o_BHTV = o_BHTV + values(p_BHTS, flow.position_BT, keys.position_BS)
    return o_BHTV


class _Shape(torch.autograd.Function):
    """The result's shape, and the gradients', without the work: for counting on the meta device."""

    @staticmethod
    def forward(ctx: Any, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSV: Tensor, sink_H: Tensor | None) -> Tensor:
        ctx.save_for_backward(q_BHTE, k_BGSE, v_BGSV, sink_H)
        return q_BHTE.new_empty(*q_BHTE.shape[:3], v_BGSV.shape[3])

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(None if x is None else torch.empty_like(x) for x in ctx.saved_tensors)
