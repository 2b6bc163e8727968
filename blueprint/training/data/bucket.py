"""Samples of about one length in a batch, so that little of it is filled up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from blueprint.training.data.order import Order, Shuffled
from blueprint.training.data.store import Split


@dataclass(frozen=True)
class Bucketed:
    """Another order of the samples, one document each, of a shuffled one: of every `pool` batches in a row the samples
    are sorted by length and dealt to the batches anew, which then come in an order drawn from the seed. As a pure
    function of (seed, n) as what it is made of."""

    order: Shuffled
    split: Split
    batch: int
    pool: int
    endless = True

    @property
    def samples(self) -> int:
        """As many as there are."""
        return self.order.samples

    def __getitem__(self, n: int) -> int:
        block, inside = divmod(n, self.batch * self.pool)
        return _block(self, block)[inside]

    def __hash__(self) -> int:
        return hash((self.order, self.split.folder, self.split.name, self.batch, self.pool))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucketed) and hash(self) == hash(other)


@lru_cache(maxsize=4)
def _block(said: Bucketed, block: int) -> list[int]:
    """The places of the samples of `pool` batches, in their order."""
    size = said.batch * said.pool
    places = np.array([said.order[block * size + each] for each in range(size)])
    lengths = said.split.starts[places + 1] - said.split.starts[places]
    batches = places[np.argsort(lengths, kind="stable")].reshape(said.pool, said.batch)
    turns = Shuffled(said.pool, said.order.seed)
    found: list[int] = batches[[turns[block * said.pool + each] for each in range(said.pool)]].flatten().tolist()
    return found


def bucketed(order: Order, split: Split, batch: int, pool: int) -> Order:
    """The order in which batches of `batch` samples are of one length each, among `pool` of them; 1 changes nothing."""
    return Bucketed(order, split, batch, pool) if pool > 1 and isinstance(order, Shuffled) else order
