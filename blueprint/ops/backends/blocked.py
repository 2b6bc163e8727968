"""Attention whose cost grows linearly with length: each block of queries with the keys its window reaches.

B batch, T tokens, H heads, G key-value heads, E key width, V value width; C queries and S keys of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blueprint.ops.backends.sdpa import dot_product
from blueprint.ops.work import Side, Work, mask_of, weigh

SMALLEST, LARGEST = 32, 256  # queries in a block


def blocked(work: Work) -> Tensor:
    """(B, H, T, V), holding the scores of one block at a time in the forward, T × window in the backward.

    A loop of small products was measured faster than one batched product over all blocks, which has to copy the
    queries into place; and splits, whose gradient is one concatenation, than slices, each of whose gradients is as
    long as the sequence.
    """
    back, ahead = work.visible.back, work.visible.ahead
    assert back is not None
    assert ahead is not None
    length = work.q_BHTE.shape[2]
    size = min(max(SMALLEST, -(-(back + ahead + 1) // 2)), LARGEST)
    qs, ks, vs = (torch.split(x, size, 2) for x in (work.q_BHTE, work.k_BGSE, work.v_BGSV))
    before, after = -(-back // size), -(-ahead // size)
    q_side, k_side = work.sides()
    trained = torch.is_grad_enabled() and (work.k_BGSE.requires_grad or work.v_BGSV.requires_grad)
    outs = []
    for n, q_BHCE in enumerate(qs):
        low, high = max(0, n - before), min(len(ks), n + after + 1)
        start, stop = low * size, min(length, high * size)
        q, k = q_side.cut(n * size, n * size + q_BHCE.shape[2]), k_side.cut(start, stop)
        mask_BCS = _mask(work, q, k, n * size - start, q_BHCE.shape[2], stop - start)
        if trained:
            k_BGSE, v_BGSV = torch.cat(ks[low:high], 2), torch.cat(vs[low:high], 2)
        else:
            k_BGSE, v_BGSV = work.k_BGSE[:, :, start:stop], work.v_BGSV[:, :, start:stop]
        outs.append(_block(work, q_BHCE, k_BGSE, v_BGSV, mask_BCS, q, k))
    return torch.cat(outs, 2)


def _distances_only(work: Work) -> bool:
    """Whether blocks at the same offset have the same mask."""
    visible = work.visible
    return not (visible.tests or visible.same_segment or visible.prefix) and work.sides()[1].keep is None


def _mask(work: Work, q: Side, k: Side, offset: int, queries: int, keys: int) -> Tensor:
    if not _distances_only(work):
        return mask_of(work.visible, q, k)
    key = ("block", work.visible, offset, queries, keys)
    if key not in work.memo:
        work.memo[key] = mask_of(work.visible, q, k)
    mask_BCS: Tensor = work.memo[key]
    return mask_BCS


def _block(work: Work, q_BHCE: Tensor, k_BGSE: Tensor, v_BGSV: Tensor, mask_BCS: Tensor, q: Side, k: Side) -> Tensor:
    bias_BHCS = work.added(q_BHCE, k_BGSE, q, k)
    if work.softcap is None and work.sink_H is None and bias_BHCS is None and work.values is None:
        shared = _distances_only(work)
        mask_B1CS = work.additive(mask_BCS) if shared else mask_BCS[:, None]
        return dot_product(q_BHCE, k_BGSE, v_BGSV, mask_B1CS, False, work.scale, work.dropout)
    return weigh(
        q_BHCE,
        k_BGSE,
        v_BGSV,
        mask_BCS,
        bias_BHCS,
        scale=work.scale,
        softcap=work.softcap,
        sink_H=work.sink_H,
        dropout=work.dropout,
        float32=work.float32,
        values=work.valued(q, k),
    )
