"""The order of samples, a pure function of (seed, n), where n counts samples over all epochs.

Nothing is stored and nothing is drawn from a generator, so any n is reached at once and the order cannot depend on
worker processes, on a restart or on the version of a library.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

_ROUNDS = 8
_WORD = (1 << 64) - 1


class Order(Protocol):
    """What the n-th sample is."""

    @property
    def samples(self) -> int:
        """How many samples there are."""

    @property
    def endless(self) -> bool:
        """Whether epochs follow one another without a border, so that a batch may lie across it."""

    def __getitem__(self, n: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Sequential:
    """Every sample once an epoch, as stored."""

    samples: int
    endless = False

    def __getitem__(self, n: int) -> int:
        return n % self.samples


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every sample once an epoch, in a pseudo-random order that differs from epoch to epoch and seed to seed.

    A balanced Feistel network permutes the smallest domain of 2^(2w) that holds the samples; walking its cycle until
    a value falls among the samples restricts it to a permutation of them (Black & Rogaway, 2002, "Ciphers with
    arbitrary finite domains", section 5). The domain is at most four times the samples (64 at least), so a step
    takes under four evaluations on average.
    """

    samples: int
    seed: int
    endless = True

    def __getitem__(self, n: int) -> int:
        epoch, value = divmod(n, self.samples)
        keys = _keys(self.seed, epoch)
        width = max(3, ((self.samples - 1).bit_length() + 1) // 2)
        while True:
            value = _feistel(value, keys, width)
            if value < self.samples:
                return value


@dataclass(frozen=True, slots=True)
class Mixed:
    """Every sample once an epoch, in one pseudo-random order that all epochs share."""

    samples: int
    seed: int
    endless = False

    def __getitem__(self, n: int) -> int:
        return Shuffled(self.samples, self.seed)[n % self.samples]


@lru_cache(maxsize=16)
def _keys(seed: int, epoch: int) -> tuple[int, ...]:
    stream = hashlib.shake_128(f"order {seed} {epoch}".encode()).digest(8 * _ROUNDS)
    return tuple(int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(_ROUNDS))


def _feistel(value: int, keys: tuple[int, ...], width: int) -> int:
    mask = (1 << width) - 1
    left, right = value >> width, value & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return left << width | right


def _mix(x: int) -> int:
    """A 64-bit mixing function whose every output bit hangs on every input bit (xor-shift-multiply, twice)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _WORD
    return x ^ (x >> 31)
