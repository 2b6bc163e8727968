"""Packing: how the documents of a split become samples of one length.

Legend: T the sample's length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.error import DataError
from blueprint.training.data.store import Split

IGNORE = -100
"""A label that counts for nothing (the default `ignore_index` of PyTorch's cross-entropy)."""

Arrays = dict[str, NDArray[Any]]


class Packing(Protocol):
    """What the samples of a split are. Arrays are (T,); labels are shifted already: labels[t] follows input_ids[t]."""

    def count(self, split: Split) -> int:
        """The number of samples. Raises `DataError` where there is none."""

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids, labels and segment_ids (int64), and what else the packing gives."""

    def span(self, split: Split, index: int) -> tuple[int, int]:
        """The tokens of the split that a sample reads, its last label included: first, and one past the last."""


@dataclass(frozen=True, slots=True)
class Continuous:
    """Windows over the documents laid end to end; the next window begins with the last one's last label.

    segment_ids number the documents from 0 within the window. With `documents="separate"` no label lies across the
    border of two documents. With `positions="restart"` position_ids count from 0 again in every document of the window.
    """

    length: int
    documents: Literal["joined", "separate"] = "joined"
    positions: Literal["running", "restart"] = "running"

    def __post_init__(self) -> None:
        _check_length(self.length)

    def count(self, split: Split) -> int:
        """The number of whole windows."""
        if split.tokens <= self.length:
            raise DataError(
                f"{split.label} holds {split.tokens:,} tokens, but one sample takes {self.length + 1:,} "
                f"(length {self.length:,} and one to predict): give more text, hold more out, or shorten the length"
            )
        return (split.tokens - 1) // self.length

    def span(self, split: Split, index: int) -> tuple[int, int]:
        """The tokens of the split that a sample reads, its last label included."""
        return index * self.length, (index + 1) * self.length + 1

    def sample(self, split: Split, index: int) -> Arrays:
        """One window: input_ids, labels, segment_ids and, where they restart, position_ids."""
        start, stop = self.span(split, index)
        ids = split.ids[start:stop].astype(np.int64)
        first, last = np.searchsorted(split.starts, [start, stop], side="right")
        begins = split.starts[first:last] - start  # of the documents that begin inside the window
        segments = np.searchsorted(begins, np.arange(stop - start), side="right")
        inputs, labels, segment_ids = ids[:-1], ids[1:].copy(), segments[:-1]
        if self.documents == "separate":
            labels[segments[1:] != segment_ids] = IGNORE
        arrays = {"input_ids": inputs, "labels": labels, "segment_ids": segment_ids}
        if self.positions == "restart":
            arrays["position_ids"] = np.arange(self.length) - np.concatenate([[0], begins])[segment_ids]
        return arrays


@dataclass(frozen=True, slots=True)
class Single:
    """One document a sample: cut to the length, or padded at the right with labels that count for nothing.

    attention_mask is False on padding, which is `pad_id`, or else the tokenizer's end token, or else 0. Documents of
    fewer than two tokens have nothing to predict and are passed over.
    """

    length: int
    pad_id: int | None = None

    def __post_init__(self) -> None:
        _check_length(self.length)

    def count(self, split: Split) -> int:
        """The number of documents that have something to predict."""
        usable = len(_with_label(split))
        if not usable:
            raise DataError(
                f"{split.label} holds no document of two tokens or more (of {split.documents:,}), "
                f"so there is nothing to predict: give longer documents"
            )
        return usable

    def span(self, split: Split, index: int) -> tuple[int, int]:
        """The tokens of the split that a sample reads, its last label included."""
        number = _with_label(split)[index]
        start, end = int(split.starts[number]), int(split.starts[number + 1])
        return start, min(end, start + self.length + 1)

    def sample(self, split: Split, index: int) -> Arrays:
        """One document: input_ids, labels, segment_ids (all 0) and attention_mask."""
        start, stop = self.span(split, index)
        kept = stop - start - 1
        pad = self.pad_id if self.pad_id is not None else split.eos_id if split.eos_id is not None else 0
        inputs = np.full(self.length, pad, dtype=np.int64)
        labels = np.full(self.length, IGNORE, dtype=np.int64)
        inputs[:kept] = split.ids[start : stop - 1]
        labels[:kept] = split.ids[start + 1 : stop]
        return {
            "input_ids": inputs,
            "labels": labels,
            "segment_ids": np.zeros(self.length, dtype=np.int64),
            "attention_mask": np.arange(self.length) < kept,
        }


PACKINGS: dict[str, Callable[..., Packing]] = {"continuous": Continuous, "single": Single}


@lru_cache(maxsize=4)
def _with_label(split: Split) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(split.starts) > 1)


def _check_length(length: int) -> None:
    if length < 1:
        raise DataError(f"a sample's length must be at least 1 token, not {length}")
