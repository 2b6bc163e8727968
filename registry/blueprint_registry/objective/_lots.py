"""Lots drawn from a word alone: they come from a hash and from no generator, so that no library's version changes them.

Legend: N lots.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Lots = NDArray[np.uint64]
Places = NDArray[np.intp]


def lots(word: str, count: int) -> Lots:
    """(count,) numbers below 2^64, uniform and independent, the same for the same word."""
    return np.frombuffer(hashlib.shake_128(word.encode()).digest(8 * count), dtype="<u8")


def uniform(lots_N: Lots) -> NDArray[np.float64]:
    """(N,) the lots as numbers from 0 to below 1."""
    return (lots_N >> np.uint64(11)) / 2.0**53


def chosen(lots_N: Lots, count: int) -> Places:
    """(count,) places, ascending: every set of so many of the N places is equally likely."""
    return np.sort(np.argsort(lots_N, kind="stable")[:count])


def poisson(lots_N: Lots, mean: float) -> NDArray[np.int64]:
    """(N,) whole numbers from 0, Poisson-distributed: the inverse of the distribution function at the lots."""
    most = int(mean + 12 * mean**0.5 + 24)
    below = np.cumsum(np.concatenate([[-mean], np.log(mean / np.arange(1, most))]))
    return np.searchsorted(np.cumsum(np.exp(below)), uniform(lots_N), side="right").astype(np.int64)
