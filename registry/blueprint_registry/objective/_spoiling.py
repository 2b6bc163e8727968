"""What a text becomes before it is to be written back whole.

Legend: T tokens of the text, K spans, S sentences, N draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint_registry.objective._lots import chosen, lots, poisson, uniform
from blueprint_registry.objective._rewriting import Ends, Ids, Rewriting

if TYPE_CHECKING:
    from blueprint_registry.objective.denoising import Denoising


@dataclass(frozen=True)
class Spoiling(Rewriting):
    """Permutes sentences, puts masks in place of spans, deletes tokens, rotates: in this order, as far as `said`."""

    said: Denoising
    ends: Ends
    mask_id: int | None
    stop_id: int

    def widths(self, length: int) -> tuple[int, int]:
        """As long as the sample: what inserted masks make longer is cut."""
        return max(2, length), max(2, length)

    def pair(self, ids_T: Ids, word: str) -> tuple[Ids, Ids]:
        """The spoilt text, and the text."""
        return self.rotated(self.deleted(self.infilled(self.permuted(ids_T, word), word), word), word), ids_T

    def permuted(self, ids_T: Ids, word: str) -> Ids:
        """Some sentences, in turn where others of them were. A sentence ends with its full stops."""
        if not self.said.permute or not len(ids_T):
            return ids_T
        stops_T = ids_T == self.stop_id
        parts = np.split(ids_T, np.flatnonzero(stops_T[:-1] & ~stops_T[1:]) + 1)
        among_S, order_S = lots(f"permuted {word}", 2 * len(parts)).reshape(2, len(parts))
        moved = chosen(among_S, round(self.said.permute * len(parts)))
        places = np.arange(len(parts))
        places[moved] = moved[np.argsort(order_S[moved], kind="stable")]
        return np.concatenate([parts[place] for place in places])

    def infilled(self, ids_T: Ids, word: str) -> Ids:
        """One mask in place of each span; a span of no tokens is a mask put in."""
        hidden = round(self.said.infill * len(ids_T))
        if not hidden:
            return ids_T
        # So many draws that they come to no less than asked for, but in one case of e^64.
        draws = 2 * len(ids_T) + 64
        drawn = lots(f"infilled {word}", 2 * draws + len(ids_T))
        lengths_K, place_T = self._lengths(drawn[:draws], hidden), drawn[draws:]
        stays = np.ones(len(ids_T) - lengths_K.sum() + len(lengths_K), np.bool_)
        # Spans and the tokens that stay stand in a row, every order of the two equally likely.
        spans_K = chosen(place_T[: len(stays)], len(lengths_K))
        stays[spans_K] = False
        takes = np.ones(len(stays), np.int64)
        takes[spans_K] = lengths_K
        first = np.cumsum(takes) - takes
        out = np.full(len(stays), -1 if self.mask_id is None else self.mask_id)
        out[stays] = ids_T[first[stays]]
        return out

    def _lengths(self, length_N: NDArray[np.uint64], hidden: int) -> NDArray[np.int64]:
        """(K,) Poisson-distributed, up to the one with which they come to `hidden`; that one is cut to fit."""
        lengths = poisson(length_N, self.said.mean_length)
        total = np.cumsum(lengths)
        lengths_K = lengths[: int(np.searchsorted(total, hidden)) + 1].copy()
        lengths_K[-1] -= max(0, int(lengths_K.sum()) - hidden)
        return lengths_K

    def deleted(self, ids_T: Ids, word: str) -> Ids:
        """Some tokens left out without a trace."""
        count = round(self.said.delete * len(ids_T))
        return ids_T[chosen(lots(f"deleted {word}", len(ids_T)), len(ids_T) - count)] if count else ids_T

    def rotated(self, ids_T: Ids, word: str) -> Ids:
        """Some texts begin with any of their tokens; what stood before it follows the last."""
        if not len(ids_T):
            return ids_T
        whether, start = uniform(lots(f"rotated {word}", 2))
        return np.roll(ids_T, -int(start * len(ids_T))) if whether < self.said.rotate else ids_T
