"""Work: one attention as a backend receives it.

B batch, T queries, S keys, H heads, G key-value heads, E key width, V value width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blueprint.visible import Visible

Bias = Callable[[Tensor, Tensor], Tensor]
"""`(q_position_BT, k_position_BS) -> (1 or B, H, T, S)`, added to the scores."""
Content = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`(q_BHTE, k_BGSE, q_position_BT, k_position_BS) -> (B, H, T, S)`, scaled and added to the scores."""
Values = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(p_BHTS, q_position_BT, k_position_BS) -> (B, H, T, V)`, added to what the weights p gather."""


@dataclass(frozen=True, eq=False)
class Side:
    """What masks and biases ask of the queries or of the keys, each (1 or B, N)."""

    order: Tensor
    position: Tensor
    segment: Tensor | None = None
    keep: Tensor | None = None  # of keys only
    reach: Tensor | None = None  # of queries only: the last place they see, where a prefix is seen both ways

    def cut(self, start: int, stop: int) -> Side:
        """The tokens start … stop - 1."""
        lines = (self.order, self.position, self.segment, self.keep, self.reach)
        return Side(*(None if line is None else line[:, start:stop] for line in lines))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Work:
    """Queries, keys and values with their description. `plain` and `fresh` are those of the keys."""

    q_BHTE: Tensor
    k_BGSE: Tensor
    v_BGSV: Tensor
    visible: Visible
    plain: bool
    fresh: bool
    sides: Callable[[], tuple[Side, Side]]
    scale: float
    softcap: float | None
    bias: Bias | None
    sink_H: Tensor | None
    dropout: float
    memo: dict[Any, Any]
    float32: bool = True
    content: Content | None = None
    values: Values | None = None

    def mask(self) -> Tensor | None:
        """(1 or B, T or 1, S), true where visible; None if everything is. Made once for all layers that agree."""
        q, k = self.sides()
        if self.visible == Visible() and k.keep is None:
            return None
        key = ("mask", self.visible, q.order, k.order, q.segment, k.segment, k.keep, q.reach)
        if key not in self.memo:
            self.memo[key] = mask_of(self.visible, q, k)
        mask_BTS: Tensor = self.memo[key]
        return mask_BTS

    def additive(self, mask_BTS: Tensor) -> Tensor:
        """A mask as SDPA adds it, (…, 1, T, S): 0 or -inf. Made once, where SDPA would for each layer and block."""
        key = ("additive", mask_BTS, self.q_BHTE.dtype)
        if key not in self.memo:
            zeros = torch.zeros_like(mask_BTS, dtype=self.q_BHTE.dtype)
            self.memo[key] = zeros.masked_fill_(~mask_BTS, -torch.inf)[:, None]
        mask_B1TS: Tensor = self.memo[key]
        return mask_B1TS

    def scores_bias(self) -> Tensor | None:
        """What is added to the scores of all queries and keys."""
        if self.bias is None and self.content is None:
            return None
        return self.added(self.q_BHTE, self.k_BGSE, *self.sides())

    def added(self, q_BHTE: Tensor, k_BGSE: Tensor, q: Side, k: Side) -> Tensor | None:
        """What is added to the scores of these queries and keys, on these sides."""
        bias = None if self.bias is None else self.bias(q.position, k.position)
        if self.content is None:
            return bias
        content_BHTS = self.scale * self.content(q_BHTE, k_BGSE, q.position, k.position)
        return content_BHTS if bias is None else content_BHTS + bias

    def valued(self, q: Side, k: Side) -> Callable[[Tensor], Tensor] | None:
        """What weights between these sides gather beside the values."""
        values = self.values
        return None if values is None else lambda p_BHTS: values(p_BHTS, q.position, k.position)


def mask_of(visible: Visible, q: Side, k: Side) -> Tensor:
    """(1 or B, T, S), true where the query at T sees the key at S; (B, 1, S) where only padding is hidden."""
    if visible == Visible() and k.keep is not None:
        return k.keep[:, None, :]
    mask_BTS: Tensor = visible.holds(q.order[:, :, None], k.order[:, None, :])
    if visible.same_segment and q.segment is not None and k.segment is not None:
        mask_BTS = mask_BTS & (q.segment[:, :, None] == k.segment[:, None, :])
    if visible.prefix:
        assert q.reach is not None, "the flow says how far a query reaches"
        mask_BTS = mask_BTS & (k.order[:, None, :] <= q.reach[:, :, None])
    return mask_BTS if k.keep is None else mask_BTS & k.keep[:, None, :]


def weigh(
    q_BHTE: Tensor,
    k_BGSE: Tensor,
    v_BGSV: Tensor,
    mask_BTS: Tensor | None,
    bias_BHTS: Tensor | None,
    *,
    scale: float,
    softcap: float | None,
    sink_H: Tensor | None,
    dropout: float,
    float32: bool = True,
    values: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Attention with its scores in hand: cap(q·k·scale) + bias, masked, softmax, dropout, times v.

    A sink is one more logit for each head whose value is zero (GPT-OSS; Xiao et al., 2023, section 3.3). The softmax
    of 16-bit inputs is taken in float32, unless `float32` is false. `values` of the weights are added to the result.
    Where nothing is visible the result is exactly 0 and so is its gradient.
    """
    batch, heads, queries, _ = q_BHTE.shape
    groups = k_BGSE.shape[1]
    q_BGRE = (q_BHTE * scale).reshape(batch, groups, heads // groups * queries, -1)
    s_BHTS = (q_BGRE @ k_BGSE.transpose(-1, -2)).view(batch, heads, queries, -1)
    if float32 and s_BHTS.dtype in (torch.float16, torch.bfloat16):
        s_BHTS = s_BHTS.float()
    if softcap is not None:
        s_BHTS = softcap * torch.tanh(s_BHTS / softcap)
    if bias_BHTS is not None:
        s_BHTS = s_BHTS + bias_BHTS
    if mask_BTS is not None:
        hidden_B1TS = ~mask_BTS[:, None]
        s_BHTS = s_BHTS.masked_fill(hidden_B1TS, torch.finfo(s_BHTS.dtype).min)
    if sink_H is not None:
        sink_BHT1 = sink_H.to(s_BHTS.dtype)[None, :, None, None].expand(batch, heads, queries, 1)
        p_BHTS = torch.cat((s_BHTS, sink_BHT1), -1).softmax(-1)[..., :-1]
    else:
        p_BHTS = s_BHTS.softmax(-1)
    if mask_BTS is not None:  # rows in which nothing is visible, which the softmax made uniform
        p_BHTS = p_BHTS.masked_fill(hidden_B1TS, 0.0)
    if dropout:
        p_BHTS = torch.dropout(p_BHTS, dropout, True)
    p_BGRS = p_BHTS.to(v_BGSV.dtype).reshape(batch, groups, heads // groups * queries, -1)
    o_BHTV = (p_BGRS @ v_BGSV).view(batch, heads, queries, -1)
    return o_BHTV if values is None else o_BHTV + values(p_BHTS.to(v_BGSV.dtype))
