"""Batches from any point of the order, the same for any number of workers and any number of ranks.

Legend: B rows of the global batch, W ranks.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from blueprint.training.data.dataset import FILLER, Samples
from blueprint.training.data.error import DataError
from blueprint.training.data.packing import Arrays

_WRITTEN = "decoder_attention_mask"
#: What is as wide as the mask of a source, and as that of a target.
_SIDES = {"attention_mask": ("input_ids",), _WRITTEN: ("decoder_input_ids", "labels")}


def loader(
    samples: Samples,
    *,
    batch_size: int,
    start: int | Callable[[], int] = 0,
    workers: int = 0,
    world_size: int = 1,
    rank: int = 0,
    context: str | None = None,
    pin_memory: bool = False,
) -> Waited:
    """A loader of what is left of an epoch from global batch number `start`, counted over all epochs.

    Batches map names to tensors (B / W, T), of sources and targets as wide as the longest of the batch; `place`
    (B / W,) holds the samples' numbers, for `Samples.describe`. `batch_size` is that of the global batch, of which rank
    r reads the r-th share. `start` may be a function: it is asked afresh at each `iter()`, which is how one loader
    serves every epoch. `len()` is always a whole epoch's.
    Shuffled samples are one endless stream cut into batches, so that none is ever dropped; an epoch is as many batches
    as fit whole into the data, but at least one. Samples in order end with a short batch; its rows are dealt evenly to
    the ranks, filled up with rows whose labels are all ignored. Raises `DataError` for shares that are not equal.
    """
    batches = Batches(samples, batch_size, start, world_size, rank)
    return Waited(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_alone,
        multiprocessing_context=context if workers else None,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        # The loader draws a seed for its workers at each iter(); from here, and not from the model's generator.
        generator=torch.Generator(),
    )


class Waited(DataLoader[Arrays]):
    """A loader that counts in `waited` the seconds in which it was waited for."""

    waited = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        began = time.perf_counter()
        batches = super().__iter__()
        while True:
            batch = next(batches, None)
            self.waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch
            began = time.perf_counter()


def batches_per_epoch(samples: Samples, batch_size: int) -> int:
    """How many global batches an epoch has."""
    return max(1, len(samples) // batch_size) if samples.order.endless else -(-len(samples) // batch_size)


class Batches(Sampler[list[int]]):
    """The places in the order of each batch's rows, for one rank."""

    def __init__(
        self, samples: Samples, batch_size: int, start: int | Callable[[], int], world_size: int, rank: int
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise DataError(
                f"a batch of {batch_size} samples cannot be shared equally by {world_size} processes: "
                f"make the batch size a multiple of {world_size}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not among {world_size}")
        self._start = start if callable(start) else lambda: start
        self._endless, self._samples = samples.order.endless, len(samples)
        self._batch_size, self._world_size, self._rank = batch_size, world_size, rank
        self._epoch = batches_per_epoch(samples, batch_size)

    def __len__(self) -> int:
        return self._epoch

    def __iter__(self) -> Iterator[list[int]]:
        start = self._start()
        return map(self._rows, range(start, start - start % self._epoch + self._epoch))

    def _rows(self, batch: int) -> list[int]:
        if self._endless:
            first, end, before = batch * self._batch_size, (batch + 1) * self._batch_size, 0
        else:
            epoch, inside = divmod(batch, self._epoch)
            first, before = inside * self._batch_size, epoch * self._samples
            end = min(first + self._batch_size, self._samples)
        share = -(-(end - first) // self._world_size)
        rows = range(first + self._rank * share, first + (self._rank + 1) * share)
        return [before + row if row < end else FILLER for row in rows]


def _stack(rows: Sequence[Arrays]) -> dict[str, Tensor]:
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    if _WRITTEN in arrays:
        # Sources and targets are filled up at the right: what no row of the batch uses would cost as much as the rest.
        for mask, names in _SIDES.items():
            used = np.flatnonzero(arrays[mask].any(0))
            width = int(used[-1]) + 1 if len(used) else 1
            arrays |= {name: np.ascontiguousarray(arrays[name][:, :width]) for name in (mask, *names)}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _alone(_worker: int) -> None:
    """A worker stands apart from its parent's signals, so that a parent told to stop still gets its last batches.

    In a process group of its own it hears neither Ctrl-C nor a signal to the parent's group, whose handlers it would
    have inherited; the loader still ends it, and it ends itself once the parent is gone.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
