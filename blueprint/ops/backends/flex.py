"""Attention through torch's FlexAttention, compiled: CUDA only, for it has no backward elsewhere.

B batch, T queries, S keys, H heads, G key-value heads, E key width, V value width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from blueprint.ops.work import Work


@lru_cache(maxsize=1)
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def flex(work: Work) -> Tensor:
    """(B, H, T, V), skipping the blocks of 128 × 128 in which nothing is visible."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q_side, k_side = work.sides()
    visible, softcap = work.visible, work.softcap
    batch = work.q_BHTE.shape[0] if visible.prefix else max(q_side.order.shape[0], k_side.order.shape[0])
    q_order, k_order = (side.order.expand(batch, -1) for side in (q_side, k_side))
    reach = q_side.reach if visible.prefix else None

    def sees(b: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen: Tensor = visible.holds(q_order[b, q], k_order[b, k])
        if visible.same_segment and q_side.segment is not None and k_side.segment is not None:
            seen = seen & (q_side.segment[b, q] == k_side.segment[b, k])
        if reach is not None:
            seen = seen & (k_order[b, k] <= reach[b, q])
        return seen if k_side.keep is None else seen & k_side.keep[b, k]

    def capped(score: Tensor, _b: Tensor, _head: Tensor, _q: Tensor, _k: Tensor) -> Tensor:
        assert softcap is not None
        return softcap * torch.tanh(score / softcap)

    device = work.q_BHTE.device
    key = ("flex", visible, q_side.order, k_side.order, k_side.keep, reach)
    if key not in work.memo:
        own = (q_side.segment, k_side.keep, reach)
        several = batch if batch > 1 or any(each is not None for each in own) else None
        work.memo[key] = create_block_mask(sees, several, None, q_order.shape[1], k_order.shape[1], device=device)
    kernel = _compiled() if device.type == "cuda" else flex_attention
    o_BHTV: Tensor = kernel(
        work.q_BHTE,
        work.k_BGSE,
        work.v_BGSV,
        score_mod=None if softcap is None else capped,
        block_mask=work.memo[key],
        scale=work.scale,
        enable_gqa=work.k_BGSE.shape[1] < work.q_BHTE.shape[1],
    )
    return o_BHTV
