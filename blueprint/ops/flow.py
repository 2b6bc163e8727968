"""Flow: where every token of a forward stands. Made once, read by every part.

B batch, T this forward's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Flow:
    """Places, positions, padding and documents of the tokens of one forward, shapes (B, T).

    `position` is what rotary and learned positions read; `order` is the place in the sequence, counted over kept
    tokens, and what masks read. They are the same tensor unless positions were given or documents restart them.
    `plain` means: order is 0, 1, 2 … in every row, nothing padded, nothing before.
    `past` and `seen` count each row's kept tokens before and after this forward: an int as long as all rows agree,
    else (B,). `shared` holds the parts a stack shares, `memory` is a `blueprint.ops.Memory` that layers may read,
    `memo` holds what is worked out once for all layers, and `terms` the losses and statistics of parts inside a part
    that does not hand them on (the feed-forward of a pool).
    """

    position_BT: Tensor
    order_BT: Tensor
    keep_BT: Tensor | None = None
    segment_BT: Tensor | None = None
    plain: bool = True
    past: int | Tensor = 0
    seen: int | Tensor = 0
    shared: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    memory: Any = None
    memo: dict[Any, Any] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    right: bool = False  # padding is known to come last in every row
    longest: int | None = None  # no document is longer, where that is known
    pack_BT: Tensor | None = None  # kept tokens first: packed[t] = x[pack[t]], where padding may come elsewhere
    unpack_BT: Tensor | None = None  # and back again
    type_BT: Tensor | None = None  # which kind of token each is (BERT's sentences A and B); None: all are 0
    id_BT: Tensor | None = None  # the tokens' ids, for what looks for one of them; None: they have none
    reach_BT: Tensor | None = None  # where a prefix is seen both ways: the order of the last token each may see

    @classmethod
    def of(
        cls,
        batch: int,
        length: int,
        device: torch.device | str | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        seen: int | Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        input_ids: Tensor | None = None,
        prefix_length: Tensor | None = None,
        shared: Mapping[str, Any] | None = None,
        memory: Any = None,
    ) -> Flow:
        """The flow of `length` new tokens in each of `batch` rows.

        `attention_mask` (B, T) is nonzero where a token is real and speaks of these tokens only; `seen` is the
        previous forward's `flow.seen` when states already hold tokens. Positions count kept tokens, restarting
        with each document of `segment_ids` (B, T), unless `position_ids` says them. The first `prefix_length` (B,) kept
        tokens of each row see each other both ways in a causal stack.
        Raises ValueError if a shape differs from (B, T), or a prefix is not read at once.
        """
        each = {"attention_mask": attention_mask, "segment_ids": segment_ids, "token_type_ids": token_type_ids}
        for name, given in each.items():
            if given is not None and given.shape != (batch, length):
                raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {(batch, length)}")
        past = 0 if seen is None else seen
        keep_BT, right = _padding(attention_mask)
        if keep_BT is None and isinstance(past, int):
            order_BT = torch.arange(past, past + length, device=device).expand(batch, length)
            after: int | Tensor = past + length
        elif keep_BT is None:
            assert isinstance(past, Tensor)
            order_BT = past[:, None] + torch.arange(length, device=device)
            after = past + length
        else:
            past = torch.full((batch,), past, device=keep_BT.device) if isinstance(past, int) else past
            count_BT = past[:, None] + keep_BT.cumsum(1)
            order_BT, after = (count_BT - 1).clamp_min(0), count_BT[:, -1]
        packing = (None, None) if keep_BT is None or right else _packing(keep_BT)
        if position_ids is not None:
            position_BT = position_ids.expand(batch, length)
        elif segment_ids is not None:
            position_BT = _restarted(order_BT, segment_ids)
        else:
            position_BT = order_BT
        return cls(
            position_BT,
            order_BT,
            keep_BT,
            segment_ids,
            plain=keep_BT is None and isinstance(past, int) and past == 0,
            past=past,
            seen=after,
            shared=NOTHING if shared is None else shared,
            memory=memory,
            right=right,
            longest=None if segment_ids is None else _longest(segment_ids),
            pack_BT=packing[0],
            unpack_BT=packing[1],
            type_BT=token_type_ids,
            id_BT=input_ids,
            reach_BT=None if prefix_length is None else _reach(order_BT, prefix_length, past, after, seen is not None),
        )


def readable(x: Tensor) -> bool:
    """Whether the values of a tensor may steer Python: not on meta, nor fake, nor while tracing."""
    return type(x) is Tensor and not x.is_meta and not torch.compiler.is_compiling()


def _padding(attention_mask: Tensor | None) -> tuple[Tensor | None, bool]:
    """The boolean mask, None if it keeps everything, and whether all padding is known to come last."""
    if attention_mask is None:
        return None, False
    keep_BT = attention_mask if attention_mask.dtype == torch.bool else attention_mask != 0
    if not readable(keep_BT):
        return keep_BT, False
    right, every = torch.stack(((keep_BT[:, :-1] >= keep_BT[:, 1:]).all(), keep_BT.all())).tolist()
    return (None, False) if every else (keep_BT, right)


def _reach(order_BT: Tensor, prefix_B: Tensor, past: int | Tensor, seen: int | Tensor, stored: bool) -> Tensor | None:
    """The order of the last token that each may see; None where no prefix reaches beyond what was seen before."""
    if prefix_B.shape != order_BT.shape[:1]:
        raise ValueError(f"prefix_length has shape {tuple(prefix_B.shape)}, expected {tuple(order_BT.shape[:1])}")
    if stored and readable(prefix_B):
        begun, ended = (torch.as_tensor(each, device=prefix_B.device) for each in (past, seen))
        if bool((begun >= prefix_B).all()):
            return None
        if bool(((begun > 0) & (begun < prefix_B)).any() or (ended < prefix_B).any()):
            raise ValueError(
                "a prefix is read at once, for its tokens see each other: these are some of it, or not all"
            )
    prefix_B1 = prefix_B[:, None]
    return torch.where(order_BT < prefix_B1, prefix_B1 - 1, order_BT)


def _packing(keep_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The permutations of each row that bring its kept tokens to the front, in order, and back."""
    kept_BT, pads_BT = keep_BT.cumsum(1), (~keep_BT).cumsum(1)
    unpack_BT = torch.where(keep_BT, kept_BT, kept_BT[:, -1:] + pads_BT) - 1
    index_BT = torch.arange(keep_BT.shape[1], device=keep_BT.device).expand_as(unpack_BT)
    return torch.empty_like(unpack_BT).scatter_(1, unpack_BT, index_BT), unpack_BT


def _restarted(order_BT: Tensor, segment_BT: Tensor) -> Tensor:
    """Positions counted from the first token of each run of equal segments."""
    begins_BT = torch.ones_like(segment_BT, dtype=torch.bool)
    begins_BT[:, 1:] = segment_BT[:, 1:] != segment_BT[:, :-1]
    return order_BT - torch.where(begins_BT, order_BT, 0).cummax(1).values


def _longest(segment_BT: Tensor) -> int | None:
    """The length of the longest document, if that can be read and every document is one run of ascending ids."""
    if not readable(segment_BT) or segment_BT.shape[1] < 2:
        return None
    step_BT = segment_BT[:, 1:] - segment_BT[:, :-1]
    if bool((step_BT < 0).any()):
        return None
    index_T = torch.arange(1, segment_BT.shape[1], device=segment_BT.device)
    start_BT = torch.where(step_BT != 0, index_T, 0).cummax(1).values
    return int((index_T - start_BT).max()) + 1
