"""Room: memory for large results on CPU that is taken again when nobody holds it any more.

The system hands out fresh memory page by page and zeroed, which costs as much as working through it several times, and
torch's allocator on CPU gives large blocks back at once. What experts make in every step (rows, their gradients, the
gradients of all their weights) would pay that in every step.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from blueprint.ops.flow import readable

SMALLEST = 1 << 20
"""Bytes from which on room is kept: smaller blocks torch's allocator keeps by itself."""
PATIENCE = 512
"""After so many requests that did not need it, room goes back to the system."""
_ALIGNED = 64


class Room:
    """Blocks of memory, each lent to one tensor at a time.

    A tensor keeps its block alive by a reference, so that references tell whether a block is lent; the first block
    never is, and tells how many references one has that nobody holds. A block serves requests down to three quarters
    of its size.
    """

    def __init__(self) -> None:
        self._blocks = [bytearray()]
        self._used = [0]
        self._clock = 0
        self._lock = threading.Lock()

    def take(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised, contiguous CPU tensor of the dtype of `like`."""
        count, size = prod(shape), like.element_size()
        with self._lock:
            block = self._free(count * size + _ALIGNED)
            start = -torch.frombuffer(block, dtype=torch.uint8).data_ptr() % _ALIGNED
            whole = torch.frombuffer(block, dtype=like.dtype, count=count, offset=start)
        # No view of anything: in-place operations may come.
        made = like.new_empty(0)
        made.set_(whole.untyped_storage(), whole.storage_offset(), shape, whole.view(shape).stride())
        return made

    def nbytes(self) -> int:
        """Bytes of all blocks, lent or not."""
        return sum(map(len, self._blocks))

    def _free(self, size: int) -> bytearray:
        self._clock += 1
        alone = sys.getrefcount(self._blocks[0])
        fits = range(size, size + size // 3 + 1)
        for index in range(1, len(self._blocks)):
            if len(self._blocks[index]) in fits and sys.getrefcount(self._blocks[index]) == alone:
                self._used[index] = self._clock
                return self._blocks[index]
        recent = [index == 0 or self._clock - used < PATIENCE for index, used in enumerate(self._used)]
        self._blocks = [block for block, kept in zip(self._blocks, recent, strict=True) if kept]
        self._used = [used for used, kept in zip(self._used, recent, strict=True) if kept]
        self._blocks.append(bytearray(size))
        self._used.append(self._clock)
        return self._blocks[-1]


_room = Room()


def room(shape: Sequence[int], like: Tensor) -> Tensor:
    """An uninitialised, contiguous tensor of the dtype and device of `like`, in memory kept for it where that pays."""
    if like.device.type != "cpu" or prod(shape) * like.element_size() < SMALLEST or not readable(like):
        return like.new_empty(tuple(shape))
    return _room.take(shape, like)
