"""Keys and values, of one forward or out of a state, as attention takes them.

B batch, S keys, G key-value heads, E key width, V value width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blueprint.ops.flow import Flow

Lazy = Tensor | Callable[[], Tensor]


class Keys:
    """Keys (B, G, S, E) and values (B, G, S, V), and what masks and biases ask about them, each (B, S).

    `plain`: nothing is padded and these are the latest S tokens of every row, the queries included.
    `fresh`: key t is token t of this very forward.
    """

    __slots__ = ("_order", "_position", "fresh", "k_BGSE", "keep_BS", "plain", "segment_BS", "v_BGSV")

    def __init__(
        self,
        k_BGSE: Tensor,
        v_BGSV: Tensor,
        order: Lazy,
        position: Lazy,
        segment_BS: Tensor | None = None,
        keep_BS: Tensor | None = None,
        plain: bool = False,
        fresh: bool = False,
    ) -> None:
        self.k_BGSE, self.v_BGSV = k_BGSE, v_BGSV
        self._order, self._position = order, position
        self.segment_BS, self.keep_BS, self.plain, self.fresh = segment_BS, keep_BS, plain, fresh

    @classmethod
    def of(cls, k_BGSE: Tensor, v_BGSV: Tensor, flow: Flow) -> Keys:
        """The keys of this forward's own tokens, as attention without a state has them."""
        segment, keep = flow.segment_BT, flow.keep_BT
        return cls(k_BGSE, v_BGSV, flow.order_BT, flow.position_BT, segment, keep, flow.plain, True)

    def cast(self, dtype: torch.dtype) -> Keys:
        """The same in another precision."""
        k_BGSE, v_BGSV = self.k_BGSE.to(dtype), self.v_BGSV.to(dtype)
        about = (self._order, self._position, self.segment_BS, self.keep_BS, self.plain, self.fresh)
        return Keys(k_BGSE, v_BGSV, *about)

    @property
    def order_BS(self) -> Tensor:
        """Places in the sequence, made when first asked for."""
        if not isinstance(self._order, Tensor):
            self._order = self._order()
        return self._order

    @property
    def position_BS(self) -> Tensor:
        """Said positions, made when first asked for."""
        if not isinstance(self._position, Tensor):
            self._position = self._position()
        return self._position
