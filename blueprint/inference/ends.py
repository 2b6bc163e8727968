"""What ends a sequence: end tokens, and sequences of ids.

B batch, C candidates, T new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Ends:
    """Which rows of a batch have ended, and by what."""

    def __init__(
        self,
        batch: int,
        eos_id: int | Sequence[int] | None = None,
        stop: Sequence[Sequence[int]] = (),
        pad_id: int | None = None,
    ) -> None:
        eos = [] if eos_id is None else [eos_id] if isinstance(eos_id, int) else list(eos_id)
        if any(len(ids) == 0 for ids in stop):
            raise ValueError("an empty sequence in `stop` would end every row at once: leave it out")
        self.sequences = [*([each] for each in eos), *map(list, stop)]
        self.pad = pad_id if pad_id is not None else eos[0] if eos else 0
        self.ended = [False] * batch
        self.tails: list[list[int]] = [[] for _ in range(batch)]
        self.keep = max(map(len, self.sequences), default=0)

    @property
    def all(self) -> bool:
        """Whether no row goes on."""
        return all(self.ended)

    @property
    def ways(self) -> int:
        """How many different ids can be the last of what ends a row."""
        return len({ids[-1] for ids in self.sequences})

    def filled(self, ids_B: Tensor) -> Tensor:
        """The ids, with padding in rows that had ended before; notes which end now."""
        if not self.sequences:
            return ids_B
        ids = [self.pad if ended else new for ended, new in zip(self.ended, ids_B.tolist(), strict=True)]
        if any(self.ended):
            ids_B = torch.tensor(ids, dtype=ids_B.dtype, device=ids_B.device)
        for row, new in enumerate(ids):
            if not self.ended[row]:
                tail = self.tails[row] = [*self.tails[row], new][-self.keep :]
                self.ended[row] = any(tail[-len(ids) :] == ids for ids in self.sequences)
        return ids_B

    def reached(self, new_BCT: Tensor) -> Tensor:
        """Whether the last of these new tokens ends its sequence, (B, C); notes nothing."""
        found_BC = torch.zeros(new_BCT.shape[:2], dtype=torch.bool, device=new_BCT.device)
        for ids in self.sequences:
            if len(ids) <= new_BCT.shape[2]:
                found_BC |= (new_BCT[:, :, -len(ids) :] == new_BCT.new_tensor(ids)).all(-1)
        return found_BC
