"""The unigram baseline: what a model that knows only how frequent each token is would score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.store import Split

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Unigram:
    """The baseline's loss on the validation split: nats per token, and bits per byte where all of the text is told."""

    nats: float
    bits_per_byte: float | None


def unigram(train: Split, validation: Split) -> Unigram:
    """Frequencies counted on `train` with add-one smoothing, p(i) = (c_i + 1) / (N + V), measured on `validation`."""
    seen, met = counts(train), counts(validation)
    log_p_V = np.log(seen + 1.0) - math.log(int(seen.sum()) + train.vocab_size)
    nats = -float(met @ log_p_V) / int(met.sum())
    return Unigram(nats, bits_per_byte(nats, validation))


def bits_per_byte(nats: float, split: Split) -> float:
    """Nats per token as bits per byte of the split's UTF-8 text: nats · tokens / bytes / ln 2.

    End tokens count among the tokens, for they are predicted and paid for, but are no bytes of text.
    """
    return nats * split.tokens / split.bytes / math.log(2)


def counts(split: Split) -> NDArray[np.int64]:
    """(vocab_size,) how often each id occurs in a split."""
    total_V = np.zeros(split.vocab_size, dtype=np.int64)
    # Read, not mapped: it is all of the file, once.
    for ids in split.read(_CHUNK):
        total_V += np.bincount(ids, minlength=split.vocab_size)
    return total_V
