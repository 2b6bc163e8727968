"""Attention through torch's scaled dot product.

B batch, T queries, S keys, H heads, G key-value heads, R = H / G, E key width, V value width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blueprint.ops.work import Work
from blueprint.visible import Visible

CAUSAL = Visible(ahead=0)


def sdpa(work: Work) -> Tensor:
    """(B, H, T, V). Plain causal and full attention hold no mask; anything else holds one of T × S."""
    q, k, v = work.q_BHTE, work.k_BGSE, work.v_BGSV
    added = work.bias is not None or work.content is not None
    causal = work.plain and work.fresh and work.visible == CAUSAL and not added
    mask = None if causal else _mask(work)
    return dot_product(q, k, v, mask, causal, work.scale, work.dropout)


def dot_product(
    q_BHTE: Tensor,
    k_BGSE: Tensor,
    v_BGSV: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot product over grouped keys, which are never copied out to every head.

    `mask` broadcasts to (B, H, T, S): boolean, or added to the scores. A query that sees nothing gives 0.
    """
    if mask is not None and q_BHTE.device.type == "cuda":  # whose kernels may give NaN where nothing is visible
        mask, empty = opened(mask)
        o_BHTV = dot_product_fused(q_BHTE, k_BGSE, v_BGSV, mask, causal, scale, dropout)
        return o_BHTV.masked_fill(empty, 0.0)
    return dot_product_fused(q_BHTE, k_BGSE, v_BGSV, mask, causal, scale, dropout)


def opened(mask: Tensor) -> tuple[Tensor, Tensor]:
    """A mask whose empty rows see everything instead, and which rows (…, T, 1) those were."""
    if mask.dtype == torch.bool:
        empty = ~mask.any(-1, keepdim=True)
        return mask | empty, empty
    empty = (mask == -torch.inf).all(-1, keepdim=True)
    return mask.masked_fill(empty, 0.0), empty


def dot_product_fused(
    q_BHTE: Tensor, k_BGSE: Tensor, v_BGSV: Tensor, mask: Tensor | None, causal: bool, scale: float, dropout: float
) -> Tensor:
    """`dot_product` by the kernels as they are."""
    batch, heads, queries, key_width = q_BHTE.shape
    groups, value_width = k_BGSE.shape[1], v_BGSV.shape[3]
    if queries == 1 and groups < heads and (mask is None or mask.shape[1] == 1):
        # A group's queries read the same keys: as rows of one product they are read once.
        q_BGRE = q_BHTE.reshape(batch, groups, heads // groups, key_width)
        o_BGRV = F.scaled_dot_product_attention(q_BGRE, k_BGSE, v_BGSV, mask, dropout, scale=scale)
        return o_BGRV.reshape(batch, heads, 1, value_width)
    if value_width != key_width and not dropout:  # the fused kernels want one width; zeros change nothing
        widest = max(value_width, key_width)
        q_BHTE, k_BGSE = (F.pad(x, (0, widest - key_width)) for x in (q_BHTE, k_BGSE))
        v_BGSV = F.pad(v_BGSV, (0, widest - value_width))
    o_BHTV = F.scaled_dot_product_attention(
        q_BHTE, k_BGSE, v_BGSV, mask, dropout, is_causal=causal, scale=scale, enable_gqa=groups < heads
    )
    return o_BHTV[..., :value_width]


def _mask(work: Work) -> Tensor | None:
    """What SDPA adds to the scores, if anything: the bias, and -inf where nothing is visible."""
    mask_BTS, bias_BHTS = work.mask(), work.scores_bias()
    if bias_BHTS is None:
        return None if mask_BTS is None else work.additive(mask_BTS)
    bias_BHTS = bias_BHTS.to(work.q_BHTE.dtype)
    return bias_BHTS if mask_BTS is None else bias_BHTS.masked_fill(~mask_BTS[:, None], -torch.inf)
