"""Memory: what an encoder made of its source, for other stacks to read.

B batch, S tokens of the source, G key-value heads, E key width, V value width, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from blueprint.ops.keys import Keys


@dataclass(frozen=True, eq=False)
class Memory:
    """Vectors (B, S, D) of a source's tokens, and which of them are no padding (None: none is)."""

    x_BSD: Tensor
    keep_BS: Tensor | None = None
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def order_BS(self) -> Tensor:
        """The tokens' places, one tensor for all layers."""
        if "order" not in self._memo:
            batch, length = self.x_BSD.shape[:2]
            self._memo["order"] = torch.arange(length, device=self.x_BSD.device).expand(batch, length)
        order_BS: Tensor = self._memo["order"]
        return order_BS

    def keys(self, k_BGSE: Tensor, v_BGSV: Tensor) -> Keys:
        """What a layer computed of this memory, as attention takes it."""
        return Keys(k_BGSE, v_BGSV, lambda: self.order_BS, lambda: self.order_BS, keep_BS=self.keep_BS)

    def reorder(self, index_B: Tensor) -> Memory:
        """The memories of these rows, in this order; the batch may grow or shrink."""
        keep_BS = None if self.keep_BS is None else self.keep_BS.index_select(0, index_B)
        return Memory(self.x_BSD.index_select(0, index_B), keep_BS)


class MemoryState:
    """One layer's keys and values of a memory: computed once, they stand while the sequence grows."""

    def __init__(self) -> None:
        self.keys: Keys | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of keys and values, 0 before there are any."""
        return 0 if self.keys is None else self.keys.k_BGSE.nbytes + self.keys.v_BGSV.nbytes

    def hold(self, keys: Keys) -> None:
        """Take what was computed of the memory, detached."""
        order_BS, held = keys.order_BS, (keys.k_BGSE.detach(), keys.v_BGSV.detach())
        self.keys = Keys(*held, order_BS, order_BS, keep_BS=keys.keep_BS)

    def rewind(self, n: int | Tensor) -> None:
        """Nothing: the memory was there before the first token."""

    def reorder(self, index_B: Tensor) -> None:
        """Take the rows at these indices, in this order; the batch may grow or shrink."""
        if self.keys is None:
            return
        held = self.keys
        order_BS = held.order_BS[:1].expand(len(index_B), -1)
        keep_BS = None if held.keep_BS is None else held.keep_BS.index_select(0, index_B)
        k_BGSE, v_BGSV = held.k_BGSE.index_select(0, index_B), held.v_BGSV.index_select(0, index_B)
        self.keys = Keys(k_BGSE, v_BGSV, order_BS, order_BS, keep_BS=keep_BS)
