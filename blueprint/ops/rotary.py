"""Rotary position embedding: rotating pairs of a head's channels by angles that grow with the position.

B batch, T tokens, H heads, E head width, F frequencies, W = 2F rotated channels.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable

import torch
from torch import Tensor

_last: dict[Hashable, tuple[weakref.ref[Tensor], Tensor, Tensor]] = {}


def angles(
    position_BT: Tensor,
    inv_freq_F: Tensor,
    *,
    scale: float = 1.0,
    interleaved: bool = False,
    dtype: torch.dtype = torch.float32,
    key: Hashable | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (B or 1, 1, T, W) of position · frequency, laid out for `rotate`.

    They are computed in float32 (float64 where the frequencies are), multiplied by `scale` and given in `dtype`.
    With a `key` that says which frequencies these are, the result is reused as long as the same position tensor is
    asked about: by queries and keys, and by every layer of a forward (Su et al., 2021, eq. 34).
    """
    if key is None or torch.compiler.is_compiling():
        return _angles(position_BT, inv_freq_F, scale, interleaved, dtype)
    # Positions changed in place are others; and what inference mode made, training cannot save for its backward.
    # (A tensor of inference mode counts no changes: within one forward nobody makes any.)
    version = -1 if position_BT.is_inference() else position_BT._version
    key = (key, scale, interleaved, dtype, version, torch.is_inference_mode_enabled())
    known = _last.get(key)
    if known is not None and known[0]() is position_BT:
        return known[1], known[2]
    cos_B1TW, sin_B1TW = _angles(position_BT, inv_freq_F, scale, interleaved, dtype)
    _last[key] = weakref.ref(position_BT, lambda ref: _forget(key, ref)), cos_B1TW, sin_B1TW
    return cos_B1TW, sin_B1TW


def _forget(key: Hashable, ref: weakref.ref[Tensor]) -> None:
    known = _last.get(key)
    if known is not None and known[0] is ref:
        del _last[key]


def _angles(
    position_BT: Tensor, inv_freq_F: Tensor, scale: float, interleaved: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    if position_BT.stride(0) == 0:  # one row expanded to all
        position_BT = position_BT[:1]
    wide = torch.float64 if inv_freq_F.dtype == torch.float64 else torch.float32
    angle_B1TF = position_BT[:, None, :, None].to(wide) * inv_freq_F.to(position_BT.device, wide)
    cos, sin = angle_B1TF.cos(), angle_B1TF.sin()
    if scale != 1.0:
        cos, sin = cos * scale, sin * scale
    if interleaved:
        cos_B1TW, sin_B1TW = (torch.stack(pair, -1).flatten(-2) for pair in ((cos, cos), (-sin, sin)))
    else:
        cos_B1TW, sin_B1TW = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return cos_B1TW.to(dtype), sin_B1TW.to(dtype)


def rotate(x_BHTE: Tensor, cos_B1TW: Tensor, sin_B1TW: Tensor, *, interleaved: bool = False) -> Tensor:
    """Rotate the first W channels of each head; the rest passes.

    Pairs are channels (i, i + W/2), or (2i, 2i + 1) when `interleaved`: (a, b) becomes (a cos - b sin, b cos + a sin).
    """
    width = cos_B1TW.shape[-1]
    x = x_BHTE if width == x_BHTE.shape[-1] else x_BHTE[..., :width]
    partner = x.reshape(*x.shape[:-1], -1, 2).flip(-1).flatten(-2) if interleaved else x.roll(width // 2, -1)
    turned = torch.addcmul(x * cos_B1TW, partner, sin_B1TW)
    if turned.dtype != x.dtype:
        turned = turned.to(x.dtype)
    return turned if width == x_BHTE.shape[-1] else torch.cat((turned, x_BHTE[..., width:]), -1)
