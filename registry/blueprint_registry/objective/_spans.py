"""Which spans of a text a sentinel stands for, and what is written for them.

Legend: T tokens of the text, N noise tokens, K spans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint_registry.objective._lots import chosen, lots
from blueprint_registry.objective._rewriting import Ends, Ids, Rewriting
from blueprint_registry.objective.span_corruption import counts, widths


@dataclass(frozen=True)
class SpanCorrupting(Rewriting):
    """Puts sentinels in place of spans; the target is each sentinel, its span, and one sentinel more (T5, figure 2)."""

    ends: Ends
    sentinel_ids: tuple[int, ...]
    share: float
    mean_length: float

    def widths(self, length: int) -> tuple[int, int]:
        """The most tokens of a source and of a target."""
        return widths(length, self.share, self.mean_length)

    def pair(self, ids_T: Ids, word: str) -> tuple[Ids, Ids]:
        """The text with sentinels, and what they stand for."""
        starts_K, lengths_K = self.spans(len(ids_T), word)
        source, target, at = list[Ids](), list[Ids](), 0
        for sentinel, start, length in zip(self.sentinel_ids, starts_K, lengths_K, strict=False):
            mark = np.array([sentinel], dtype=np.int64)
            source += [ids_T[at:start], mark]
            target += [mark, ids_T[start : start + length]]
            at = start + length
        last = np.array([self.sentinel_ids[len(starts_K)]], dtype=np.int64)
        return np.concatenate([*source, ids_T[at:]]), np.concatenate([*target, last])

    def spans(self, length: int, word: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(K,) where spans start, and how long they are: every choice of so many tokens in so many spans that do not
        touch is equally likely."""
        noise, spans = counts(length, self.share, self.mean_length)
        if spans == 0:
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        drawn = lots(f"spans {word}", length)
        # Noise is cut in K parts, the rest in K + 1, of which the outer two may be empty.
        cuts = chosen(drawn[: noise - 1], spans - 1) + 1
        lengths_K = np.diff(np.concatenate([[0], cuts, [noise]]))
        gaps_K = np.diff(np.concatenate([[0], chosen(drawn[noise - 1 :][: length - noise + 1], spans)]))
        ends_K = np.cumsum(gaps_K) + np.cumsum(lengths_K)
        return ends_K - lengths_K, lengths_K
