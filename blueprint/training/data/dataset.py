"""Samples by their place in the order: the map-style dataset that a loader reads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch.utils.data import Dataset

from blueprint.training.data.order import Order, Sequential, Shuffled
from blueprint.training.data.packing import IGNORE, Arrays, Packing
from blueprint.training.data.store import Piece, Split


class Samples(Dataset[Arrays]):
    """The samples of a split; item n is the n-th of the order, over all epochs.

    With a `seed` the order is shuffled anew every epoch and n has no end; without one it is the stored order, once.
    Beyond the end of the latter lie rows that count for nothing: labels of -100, place -1.
    Picklable: what travels to another process is a path and a few numbers. Raises `DataError` where there is no sample.
    """

    def __init__(self, split: Split, packing: Packing, *, seed: int | None) -> None:
        self.split, self.packing = split, packing
        count = packing.count(split)
        self.order: Order = Sequential(count) if seed is None else Shuffled(count, seed)

    def __len__(self) -> int:
        return self.order.samples

    def __getitem__(self, n: int) -> Arrays:
        """The arrays of one sample, (T,) each, and `place`, its number, for `where`."""
        beyond = not self.order.endless and n >= len(self)
        place = self.order[0 if beyond else n]
        arrays = self.packing.sample(self.split, place)
        if beyond:
            arrays["labels"] = np.full_like(arrays["labels"], IGNORE)
        return arrays | {"place": np.array(-1 if beyond else place)}

    def where(self, sample: int) -> list[Piece]:
        """The documents, and the tokens in them, that a sample reads."""
        return self.split.where(*self.packing.span(self.split, sample))

    def describe(self, place: Iterable[int]) -> str:
        """In words, a line a sample, where the rows of a batch lie in the data, from the batch's `place`."""
        lines = [
            f"sample {s} of {self.split.label}: " + ", ".join(map(str, self.where(s)))
            for s in map(int, place)
            if s >= 0
        ]
        return "\n".join(lines)
