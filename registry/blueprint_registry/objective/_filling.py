"""Texts cut in three, of which the middle comes last.

Legend: T the sample's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint_registry.objective._lots import lots, uniform
from blueprint_registry.objective._rewriting import Ids, stream


@dataclass(frozen=True)
class Filling:
    """Puts the middle of documents last by lot: `(arrays, word) -> arrays`, the same for the same word."""

    marks: tuple[int, int, int]  # before the prefix, before the suffix, before the middle
    end_id: int | None
    rate: float
    spm: float

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """The sample with the pieces of documents in it rearranged, each at its place, and what follows from that."""
        ids, width = stream(arrays), len(arrays["input_ids"])
        pieces, room = list[Ids](), len(ids)
        for number, piece in enumerate(self._documents(ids, arrays)):
            drawn = uniform(lots(f"filled {word} {number}", 4))
            ended = len(piece) > 0 and piece[-1] == self.end_id
            made = self._filled(piece[:-1] if ended else piece, piece[-1:] if ended else piece[:0], room, drawn)
            pieces.append(made)
            room -= len(made)
        out, kept = np.concatenate(pieces), len(ids) - 1
        starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
        segment = np.searchsorted(starts, np.arange(width), side="right") - 1
        found = {**arrays, "input_ids": arrays["input_ids"].copy(), "labels": arrays["labels"].copy()}
        found["input_ids"][:kept], found["labels"][:kept] = out[:-1], out[1:]
        if "segment_ids" in arrays:
            found["segment_ids"] = np.where(np.arange(width) < kept, segment, segment[max(0, kept - 1)])
        if "position_ids" in arrays:
            found["position_ids"] = np.arange(width) - starts[segment]
        return found

    def _documents(self, ids: Ids, arrays: dict[str, Any]) -> list[Ids]:
        segments: NDArray[Any] = arrays.get("segment_ids", np.zeros(len(ids)))[: len(ids) - 1]
        begins = np.flatnonzero(np.diff(segments)) + 1
        # The last label is of the same document as the last input, unless that is an end.
        last = [len(ids) - 1] if len(ids) > 1 and ids[-2] == self.end_id else []
        return [piece for piece in np.split(ids, [*begins, *last]) if len(piece)]

    def _filled(self, text: Ids, end: Ids, room: int, drawn: NDArray[np.float64]) -> Ids:
        """One document's piece in `room` tokens at most; what the marks leave no room for is cut off its end first."""
        whether, which, *at = drawn.tolist()
        if whether >= self.rate or room < 4 or not len(text):
            return np.concatenate([text, end])[:room]
        if len(text) + len(end) + 3 > room:
            text, end = text[: room - 3], end[: max(0, room - 3 - len(text))]
        first, second = sorted(int(each * (len(text) + 1)) for each in at)
        before, middle, after = text[:first], text[first:second], text[second:]
        pre, suf, mid = ([mark] for mark in self.marks)
        if which < self.spm:
            return np.concatenate([pre, suf, after, mid, before, middle, end]).astype(np.int64)
        return np.concatenate([pre, before, suf, after, mid, middle, end]).astype(np.int64)
