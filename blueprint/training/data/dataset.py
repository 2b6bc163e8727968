"""Samples by their place in the order: the map-style dataset that a loader reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from torch.utils.data import Dataset

from blueprint.training.data.bucket import bucketed
from blueprint.training.data.order import Mixed, Order, Sequential, Shuffled
from blueprint.training.data.packing import IGNORE, Arrays, Packing
from blueprint.training.data.store import Piece, Split

#: What an objective makes of a sample's arrays, by lots drawn from a word that tells the sample and the epoch.
Change = Callable[[Arrays, str], Arrays]

#: The number of a row that counts for nothing.
FILLER = -1


class Samples(Dataset[Arrays]):
    """The samples of a split; item n is the n-th of the order, over all epochs.

    With a `seed` the order is shuffled anew every epoch, or once for all of them (`once`); without one it is the stored
    order. Item -1 counts for nothing: labels of -100 (numbers: nan), place -1. `change` is made to every sample, from
    lots that depend on `lots`, the epoch and the sample alone. `beside` has further arrays of every sample, by its
    number. Of every `bucket` batches of `batch` shuffled samples, each has those of one length.
    Picklable: what travels to another process is a path and a few numbers. Raises `DataError` where there is no sample.
    """

    def __init__(
        self,
        split: Split,
        packing: Packing,
        *,
        seed: int | None,
        once: bool = False,
        change: Change | None = None,
        lots: int = 0,
        beside: Callable[[int], Arrays] | None = None,
        batch: int = 1,
        bucket: int = 1,
    ) -> None:
        self.split, self.packing, self.change, self.lots, self.beside = split, packing, change, lots, beside
        count = packing.count(split)
        shuffled = Mixed if once else Shuffled
        order: Order = Sequential(count) if seed is None else shuffled(count, seed)
        self.order = bucketed(order, split, batch, bucket)

    def __len__(self) -> int:
        return self.order.samples

    def __getitem__(self, n: int) -> Arrays:
        """The arrays of one sample, (T,) each, and `place`, its number, for `where`."""
        filler = n == FILLER
        place = self.order[0 if filler else n]
        arrays = self.packing.sample(self.split, place)
        if self.change is not None:
            arrays = self.change(arrays, f"{self.lots} {self.split.name} {n // len(self)} {place}")
        if self.beside is not None:
            arrays = arrays | self.beside(place)
        if filler:
            # Those of an objective's parts stand after their names.
            for name in [each for each in arrays if each.rpartition("/")[2] == "labels"]:
                labels = arrays[name]
                arrays[name] = np.full_like(labels, np.nan if labels.dtype.kind == "f" else IGNORE)
        return arrays | {"place": np.array(FILLER if filler else place)}

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
