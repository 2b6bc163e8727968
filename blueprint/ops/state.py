"""Keys and values remembered between forwards.

B batch, T new tokens, S keys, G key-value heads, E key width, V value width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from blueprint.ops.flow import Flow
from blueprint.ops.keys import Keys
from blueprint.visible import Visible


class State(Protocol):
    """What a mixer remembers between forwards."""

    @property
    def nbytes(self) -> int:
        """The bytes that grow with batch and length."""

    def rewind(self, n: int | Tensor) -> None:
        """Forget the last `n` kept tokens of every row, or `n` (B,) of each."""

    def reorder(self, index_B: Tensor) -> None:
        """Take the rows at these indices, in this order; the batch may grow or shrink."""


def steady(parts: Iterable[Any], length: int) -> int | None:
    """Up to how many tokens what these parts keep of a sequence of `length` stays what they would make anew.

    None: however many follow; so of a part that says nothing of it.
    """
    said = (part.steady(length) for part in parts if hasattr(part, "steady"))
    return min((end for end in said if end is not None), default=None)


class KVState:
    """Preallocated keys and values; a ring where the mask looks back a bounded distance.

    The token at place o of its row lives in slot o modulo `capacity`; padding is not stored. As long as no row was
    ever padded all rows agree, and slots are plain slices counted on the host. What is stored is detached.
    `slack` keeps so many tokens beyond the window, for rewinding. Raises ValueError when a mask without bound is
    given more than `length` tokens.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        key_dim: int,
        value_dim: int | None = None,
        *,
        visible: Visible = Visible(ahead=0),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        slack: int = 0,
    ) -> None:
        self.back = visible.back
        self.capacity = length if self.back is None else min(length, self.back + 1 + slack)
        self.bounded = self.back is None or self.capacity <= self.back  # then nothing may be overwritten
        width = key_dim if value_dim is None else value_dim
        self.k_BGCE = torch.zeros(batch, heads, self.capacity, key_dim, dtype=dtype, device=device)
        self.v_BGCV = torch.zeros(batch, heads, self.capacity, width, dtype=dtype, device=device)
        self.position_BC: Tensor | None = None
        self.segment_BC: Tensor | None = None
        self.seen: int | Tensor = 0  # kept tokens of each row
        self.high: int | Tensor = 0  # the most `seen` has been: slots hold the latest tokens below it
        self.undone = False  # whether tokens were ever taken back
        self.most = 0  # an upper bound of `high` known to the host

    @property
    def nbytes(self) -> int:
        """The bytes of keys and values."""
        return self.k_BGCE.nbytes + self.v_BGCV.nbytes

    def append(self, k_BGTE: Tensor, v_BGTV: Tensor, flow: Flow) -> Keys:
        """Store this forward's keys and values; what its queries may attend to."""
        length = k_BGTE.shape[2]
        if self.k_BGCE.shape[1] != k_BGTE.shape[1] and not self.most:
            # A piece of a module has but its own heads.
            self.k_BGCE, self.v_BGCV = (held[:, : k_BGTE.shape[1]].clone() for held in (self.k_BGCE, self.v_BGCV))
        if self.bounded and self.most + length > self.capacity:
            self._refuse_overflow(length)
        if isinstance(flow.seen, int) and isinstance(self.seen, int):
            return self._append_even(k_BGTE, v_BGTV, flow, self.seen, length)
        return self._append_ragged(k_BGTE, v_BGTV, flow)

    def _append_even(self, k_BGTE: Tensor, v_BGTV: Tensor, flow: Flow, seen: int, length: int) -> Keys:
        """All rows agree: slices."""
        if flow.past != seen:
            raise ValueError(f"the flow continues after {flow.past} tokens, the state holds {seen}")
        assert isinstance(self.high, int)
        end = seen + length
        high = max(self.high, end)
        clean = high == end or high <= self.capacity  # no slot in use holds a token that was taken back
        fits = clean and (end <= self.capacity or length == 1)  # nothing these queries need is overwritten
        keys = None if fits or seen == 0 else self._joined(k_BGTE, v_BGTV, flow)
        self._write(k_BGTE, v_BGTV, flow, seen, length)
        self.seen, self.high, self.most = end, high, max(self.most, end)
        if seen == 0:
            return Keys.of(k_BGTE, v_BGTV, flow)
        if keys is not None:
            return keys
        size = min(end, self.capacity)
        order = self._even_order(flow, size, end)
        return Keys(
            self.k_BGCE.narrow(2, 0, size),
            self.v_BGCV.narrow(2, 0, size),
            order,
            order if self.position_BC is None else self.position_BC[:, :size],
            None if self.segment_BC is None else self.segment_BC[:, :size],
            plain=True,
        )

    def _even_order(self, flow: Flow, size: int, end: int) -> Callable[[], Tensor]:
        """The places held by the first `size` slots once `end` tokens were written: one tensor for all layers."""
        batch, device = self.k_BGCE.shape[0], self.k_BGCE.device

        def order() -> Tensor:
            key = ("slots", size, end)
            if key not in flow.memo:
                slot_S = torch.arange(size, device=device)
                place_S = slot_S if end <= size else end - 1 - (end - 1 - slot_S) % size
                flow.memo[key] = place_S.expand(batch, size)
            place_BS: Tensor = flow.memo[key]
            return place_BS

        return order

    def _write(self, k_BGTE: Tensor, v_BGTV: Tensor, flow: Flow, seen: int, length: int) -> None:
        """Slices of the last `capacity` new tokens into their slots, in at most two pieces."""
        new = [(self.k_BGCE, k_BGTE.detach()), (self.v_BGCV, v_BGTV.detach())]
        new += [(held[..., None], x[..., None]) for held, x in self._extras(flow)]
        start = max(0, length - self.capacity)
        while start < length:
            slot = (seen + start) % self.capacity
            count = min(length - start, self.capacity - slot)
            for held, x in new:
                axis = min(2, held.dim() - 2)
                held.narrow(axis, slot, count).copy_(x if count == length else x.narrow(axis, start, count))
            start += count

    def _extras(self, flow: Flow) -> list[tuple[Tensor, Tensor]]:
        """Positions and segments beside what is new of them, where they say more than the order does."""
        if self.position_BC is None and flow.position_BT is not flow.order_BT:
            self.position_BC = self._places().clone()
        if self.segment_BC is None and flow.segment_BT is not None:
            self.segment_BC = torch.zeros_like(self._places())
        pairs = []
        if self.position_BC is not None:
            pairs.append((self.position_BC, flow.position_BT))
        if self.segment_BC is not None:
            same = self.segment_BC.new_zeros(()).expand(flow.order_BT.shape)
            pairs.append((self.segment_BC, same if flow.segment_BT is None else flow.segment_BT))
        return pairs

    def _places(self) -> Tensor:
        """The place (B, C) each slot holds, negative where it was never written."""
        batch, device = self.k_BGCE.shape[0], self.k_BGCE.device
        last = self.high - 1 if isinstance(self.high, int) else self.high[:, None] - 1
        slot_C = torch.arange(self.capacity, device=device)
        return (last - (last - slot_C) % self.capacity).expand(batch, self.capacity)

    def _held(self, flow: Flow) -> tuple[Tensor, Tensor]:
        """The place of each slot in use and whether what it holds counts; once for all layers that agree."""
        size = min(self.most, self.capacity)
        key = ("held", self.capacity, size, self.high, self.seen)  # the memo keeps alive what it is keyed by
        if key not in flow.memo:
            place_BS = self._places()[:, :size]
            seen = self.seen if isinstance(self.seen, int) else self.seen[:, None]
            flow.memo[key] = place_BS, (place_BS >= 0) & (place_BS < seen)
        held: tuple[Tensor, Tensor] = flow.memo[key]
        return held

    def _keys(self, place_BS: Tensor, valid_BS: Tensor) -> Keys:
        size = place_BS.shape[1]
        position = place_BS if self.position_BC is None else self.position_BC[:, :size]
        segment = None if self.segment_BC is None else self.segment_BC[:, :size]
        return Keys(self.k_BGCE[:, :, :size], self.v_BGCV[:, :, :size], place_BS, position, segment, valid_BS)

    def _joined(self, k_BGTE: Tensor, v_BGTV: Tensor, flow: Flow) -> Keys:
        """What is held, followed by what is new: for when storing first would overwrite what is still needed."""
        self._extras(flow)  # so that both halves have positions and segments
        place_BS, valid_BS = self._held(flow)
        old = self._keys(place_BS, valid_BS)
        new = Keys.of(k_BGTE, v_BGTV, flow)
        keep = torch.ones_like(flow.order_BT, dtype=torch.bool) if flow.keep_BT is None else flow.keep_BT
        segment = None
        if old.segment_BS is not None:
            said = torch.zeros_like(flow.order_BT) if flow.segment_BT is None else flow.segment_BT
            segment = torch.cat((old.segment_BS, said), 1)
        return Keys(
            torch.cat((old.k_BGSE.to(k_BGTE.dtype), k_BGTE), 2),
            torch.cat((old.v_BGSV.to(v_BGTV.dtype), v_BGTV), 2),
            torch.cat((old.order_BS, new.order_BS), 1),
            torch.cat((old.position_BS, new.position_BS), 1),
            segment,
            torch.cat((valid_BS, keep), 1),
        )

    def _append_ragged(self, k_BGTE: Tensor, v_BGTV: Tensor, flow: Flow) -> Keys:
        """Rows hold different numbers of tokens, each row's slots in its own order."""
        batch, length = flow.order_BT.shape
        if isinstance(flow.past, int):
            raise ValueError("the state holds rows of different lengths: hand its counts to Flow.of(seen=…)")
        first = self.most == 0
        keys = Keys.of(k_BGTE, v_BGTV, flow) if first else self._joined(k_BGTE, v_BGTV, flow) if length > 1 else None
        assert isinstance(flow.seen, Tensor)
        before = self.seen if isinstance(self.seen, Tensor) else flow.order_BT.new_full((batch,), self.seen)
        pairs = [(self.k_BGCE, k_BGTE.detach()), (self.v_BGCV, v_BGTV.detach())]
        pairs += [(held[:, None, :, None], x[:, None, :, None]) for held, x in self._extras(flow)]
        self.high = (
            torch.maximum(torch.as_tensor(self.high, device=before.device), flow.seen) if self.undone else flow.seen
        )
        self.seen, self.most = flow.seen, self.most + length
        place_BS, valid_BS = self._held(flow)
        if length == 1:
            index = (flow.seen[:, None] - 1).clamp_min(0) % self.capacity
            taken = flow.keep_BT
        else:
            rank_BS = place_BS - before[:, None]  # which of the new kept tokens belongs in this slot
            taken = valid_BS & (rank_BS >= 0)
            index = rank_BS.clamp(0, length - 1)
            index = index if flow.pack_BT is None else flow.pack_BT.gather(1, index)
        for held, new in pairs:
            _put(held if length == 1 else held.narrow(2, 0, index.shape[1]), new.to(held.dtype), index, taken)
        return keys if keys is not None else self._keys(place_BS, valid_BS)

    def _refuse_overflow(self, length: int) -> None:
        """Find out whether the longest row really has no room: the host's count includes padding."""
        if isinstance(self.high, Tensor) and not self.high.is_meta:
            self.most = int(self.high.max())
        if self.most + length > self.capacity:
            raise ValueError(f"the state has room for {self.capacity} tokens: {self.most} held, {length} more given")

    def rewind(self, n: int | Tensor) -> None:
        """Forget the last `n` kept tokens of every row, or `n` (B,) of each.

        Raises ValueError if a row holds fewer, or a ring overwrote what its window would need again.
        """
        seen = self.seen - n
        least = seen if isinstance(seen, int) else None if seen.is_meta else int(seen.min())
        if least is not None and least < 0:
            raise ValueError(f"cannot take back {n} tokens: a row would hold {least}")
        if self.back is not None:
            lost = self.high - self.capacity  # every place below it was overwritten
            gone = (lost > 0) & (lost > seen - self.back)
            if bool(gone) if isinstance(gone, bool) else not gone.is_meta and bool(gone.any()):
                raise ValueError(
                    f"cannot take back {n} tokens: the ring of {self.capacity} overwrote what is needed again"
                )
        self.seen, self.undone = seen, True
        if self.bounded:
            self.high, self.most = seen, seen if isinstance(seen, int) else self.most

    def reorder(self, index_B: Tensor) -> None:
        """Take the rows at these indices, in this order; the batch may grow or shrink."""
        self.k_BGCE, self.v_BGCV = self.k_BGCE.index_select(0, index_B), self.v_BGCV.index_select(0, index_B)
        for name in ("position_BC", "segment_BC", "seen", "high"):
            if isinstance(held := getattr(self, name), Tensor):
                setattr(self, name, held.index_select(0, index_B))


def _put(held_BGSE: Tensor, new_BGTE: Tensor, index: Tensor, taken: Tensor | None) -> None:
    """Write the one new token of each row to slot `index` (B, 1), or to every slot the token that `index` (B, S) says.

    Nothing is written where `taken`, of the shape of `index`, is false.
    """
    index = index[:, None, :, None].expand(*held_BGSE.shape[:2], -1, held_BGSE.shape[3])
    if new_BGTE.shape[2] > 1:
        assert taken is not None
        held_BGSE.copy_(torch.where(taken[:, None, :, None], new_BGTE.gather(2, index), held_BGSE))
    elif taken is None:
        held_BGSE.scatter_(2, index, new_BGTE)
    else:
        held_BGSE.scatter_(2, index, torch.where(taken[:, None, :, None], new_BGTE, held_BGSE.gather(2, index)))
