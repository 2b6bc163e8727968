"""Denoising: each of the paper's kinds of noise against what it says, and what cannot be served refused."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint_registry.objective._lots import lots, poisson
from blueprint_registry.objective.denoising import Denoising
from blueprint_registry.tokenizer.byte import Byte

BYTE = Byte(mask=True)
EOS, MASK = 256, 257
NONE: dict[str, Any] = {"infill": 0.0, "permute": 0.0}


def ids(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


def shown(found: Any) -> str:
    return "".join({EOS: "|", MASK: "_"}.get(int(i)) or chr(i) for i in found if i >= 0)


def spoilt(text: str, word: str = "0 train 0 0", **said: Any) -> str:
    """The source of a text, without its end."""
    change = Denoising(**{**NONE, **said}).change(BYTE)
    source, target = change.pair(ids(text), word)
    assert shown(target) == text
    return shown(source)


@settings(max_examples=60, deadline=None)
@given(st.text("ab.|", min_size=2, max_size=60), st.text(max_size=6))
def test_a_sample_is_a_spoilt_text_to_read_and_the_text_to_write(text: str, word: str) -> None:
    change = Denoising().change(BYTE)
    arrays = {"input_ids": np.array([EOS if c == "|" else ord(c) for c in text])}
    out, again = change(arrays, word), pickle.loads(pickle.dumps(change))(arrays, word)
    plain = text.replace("|", "")[: len(text) - 1]
    assert shown(out["labels"]) == f"{plain}|"
    assert (
        shown(out["input_ids"][out["attention_mask"]]) == f"{shown(change.pair(ids(plain), word)[0])[: len(text) - 1]}|"
    )
    assert out["decoder_input_ids"][0] == EOS
    assert shown(out["decoder_input_ids"][out["decoder_attention_mask"]])[1:] == plain
    assert {len(each) for each in out.values()} == {len(text)}
    assert all(np.array_equal(out[name], again[name]) for name in out)


@settings(max_examples=60, deadline=None)
@given(st.text("abcdef", min_size=1, max_size=60), st.text(max_size=6), st.sampled_from([0.1, 0.3, 0.8, 1.0]))
def test_infilling_hides_so_many_tokens_behind_one_mask_a_span(text: str, word: str, share: float) -> None:
    found = spoilt(text, word, infill=share)
    kept = found.replace("_", "")
    assert len(text) - len(kept) == round(share * len(text))
    rest = iter(text)
    assert all(c in rest for c in kept)  # in the text's own order


def test_spans_are_as_long_as_poisson_says_and_stand_everywhere() -> None:
    numbers = poisson(lots("many", 40000), 3.0)
    share = np.bincount(numbers, minlength=12)[:12] / len(numbers)
    wanted = [np.exp(-3.0) * 3.0**k / np.prod(np.arange(1, k + 1)) for k in range(12)]
    assert np.abs(share - wanted).max() < 0.008
    assert poisson(np.array([2**64 - 1], np.uint64), 30.0)[0] < 120
    # Of 4 tokens 1 is hidden, by one span or with spans of none before it: where the kept stand is uniform.
    where = Counter(spoilt("abcd", str(n), infill=0.25, mean_length=1.0).replace("_", "") for n in range(4000))
    assert set(where) == {"abc", "abd", "acd", "bcd"}
    inserted = sum("__" in spoilt("abcdefgh", str(n), infill=0.25, mean_length=1.0) for n in range(200))
    assert inserted > 10


def test_permutation_moves_sentences_whole() -> None:
    text = "one. two... three. four"
    parts = {"one.", " two...", " three.", " four"}
    orders = Counter(spoilt(text, str(n), permute=1.0) for n in range(2400))
    assert len(orders) == 24
    assert max(abs(count - 100) for count in orders.values()) < 45
    assert all(sum(part in order for part in parts) == 4 for order in orders)
    half = Counter(spoilt(text, str(n), permute=0.5) for n in range(600))
    # Two of four change places, or do not: the text itself, and six transpositions.
    assert len(half) == 7
    assert half[text] == pytest.approx(300, abs=60)


def test_deletion_leaves_no_trace() -> None:
    found = Counter(spoilt("abcd", str(n), delete=0.5) for n in range(1200))
    assert set(found) == {"ab", "ac", "ad", "bc", "bd", "cd"}
    assert max(abs(count - 200) for count in found.values()) < 60


def test_rotation_begins_anywhere() -> None:
    found = Counter(spoilt("abcd", str(n), rotate=1.0) for n in range(800))
    assert set(found) == {"abcd", "bcda", "cdab", "dabc"}
    assert max(abs(count - 200) for count in found.values()) < 60
    some = Counter(spoilt("abcd", str(n), rotate=0.25) for n in range(800))
    assert some["abcd"] == pytest.approx(800 * (0.75 + 0.25 / 4), abs=50)


def test_noise_adds_up_in_the_order_it_is_said() -> None:
    one = Denoising(infill=0.3, permute=1.0, delete=0.2, rotate=1.0).change(BYTE)
    text, word = ids("one. two. three. four"), "w"
    step = text
    for noise in (one.permuted, one.infilled, one.deleted, one.rotated):
        step = noise(step, word)
    assert np.array_equal(one.pair(text, word)[0], step)


def test_an_empty_text_stays_empty() -> None:
    assert spoilt("", infill=0.3, permute=1.0, delete=0.5, rotate=1.0) == ""


SPEC = """
model: {type: encoder_decoder, d_model: 32, layers: 1, max_length: 64, block: {attention: {heads: 2}}}
tokenizer: TOKENIZER
objective: {type: denoising, SAID}
"""


@pytest.mark.parametrize(
    ("tokenizer", "said", "line", "message"),
    [
        ("byte", "infill: 0.3", 3, "puts a mask token in place of spans, and tokenizer `byte` has none"),
        ("byte", "infill: 0, permute: 0", 4, "there is no noise"),
        ("byte", "infill: 0, mean_length: 2.0", 4, "`mean_length` is of spans"),
        ("{type: byte, mask: true}", "start: pad", 4, "no id for padding"),
    ],
)
def test_what_cannot_serve_is_refused(tokenizer: str, said: str, line: int, message: str) -> None:
    with pytest.raises(bp.SpecError, match=message) as refused:
        bp.loads(SPEC.replace("TOKENIZER", tokenizer).replace("SAID", said))
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_without_infilling_no_mask_is_needed() -> None:
    bp.loads(SPEC.replace("TOKENIZER", "byte").replace("SAID", "infill: 0, rotate: 1"))
