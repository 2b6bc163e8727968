"""The baseline is the cross-entropy of the train split's frequencies on the validation split."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from blueprint.training.data.unigram import bits_per_byte, counts, unigram


def test_the_baseline_agrees_with_a_count_by_hand(tokens) -> None:
    seen, total = Counter(tokens.train.ids.tolist()), tokens.train.tokens + 257
    losses = [-math.log(Fraction(seen[token] + 1, total)) for token in tokens.validation.ids.tolist()]
    found = unigram(tokens.train, tokens.validation)
    assert found.nats == pytest.approx(math.fsum(losses) / len(losses), rel=1e-12)
    bits = math.fsum(losses) / math.log(2)
    assert found.bits_per_byte == pytest.approx(bits / tokens.validation.bytes, rel=1e-12)


def test_uniform_bytes_take_eight_bits_each(make, byte_tokenizer) -> None:
    tokens = make([("a", "x" * 999), ("b", "y" * 500)], byte_tokenizer(eos_id=None, vocab_size=256))
    assert bits_per_byte(math.log(256), tokens.validation) == pytest.approx(8)


def test_counting_in_chunks_is_counting(tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blueprint.training.data.unigram._CHUNK", 7)
    assert counts(tokens.train).tolist() == np.bincount(tokens.train.ids, minlength=257).tolist()
