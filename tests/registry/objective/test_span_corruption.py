"""Span corruption: the paper's figure, every choice of spans equally likely, and what cannot be served refused."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint_registry.objective._lots import lots
from blueprint_registry.objective._spans import SpanCorrupting
from blueprint_registry.objective.span_corruption import SpanCorruption, counts, widths
from blueprint_registry.tokenizer.byte import Byte

BYTE = Byte(sentinels=60)
EOS, FIRST = 256, 257
PINNED = [(2, 1), (5, 5), (18, 2)]


def sample(text: str, **more: Any) -> dict[str, Any]:
    ids = np.array([EOS if c == "|" else ord(c) for c in text], dtype=np.int64)
    return {"input_ids": ids, "labels": np.roll(ids, -1), "segment_ids": np.cumsum(ids == EOS), **more}


def changed(text: str, word: str = "0 train 0 0", **said: Any) -> dict[str, Any]:
    change = SpanCorruption(**said).change(BYTE)
    return change(sample(text), word)


def shown(ids: Any) -> str:
    """Ids as the paper prints them: sentinels as capital letters, `.` for the end."""
    return "".join("." if i == EOS else chr(ord("A") + i - FIRST) if i >= FIRST else chr(i) for i in ids if i >= 0)


def test_a_source_and_a_target_are_as_in_the_papers_figure() -> None:
    change = SpanCorruption().change(BYTE)
    text = np.frombuffer(b"thank you for inviting me", np.uint8).astype(np.int64)
    # "for inviting" and "me" are taken out, as words are in figure 2.
    object.__setattr__(change, "spans", lambda length, word: (np.array([10, 23]), np.array([12, 2])))
    source, target = SpanCorrupting.pair(change, text, "")
    assert shown(source) == "thank you A B"
    assert shown(target) == "Afor invitingBmeC"


@settings(max_examples=80, deadline=None)
@given(
    st.text("abc|", min_size=1, max_size=80),
    st.text(max_size=8),
    st.sampled_from([0.01, 0.15, 0.5, 0.9]),
    st.sampled_from([1.0, 1.5, 3.0, 20.0]),
)
def test_what_was_taken_out_put_back_is_the_text(text: str, word: str, share: float, mean: float) -> None:
    out = changed(text, word, share=share, mean_length=mean)
    length = sum(c != "|" for c in text[: max(1, len(text))])
    plain = text.replace("|", "")[: max(1, len(text) - 1)]
    source, keep, target = out["input_ids"], out["attention_mask"], out["labels"]
    assert (len(source), len(target)) == widths(len(text), share, mean)
    assert np.array_equal(keep, np.arange(len(keep)) < keep.sum())
    assert source[keep][-1] == EOS
    assert target[target >= 0][-1] == EOS
    written, spans = target[target >= 0][:-1], dict[int, list[int]]()
    for each in written.tolist():
        spans.setdefault(each, []) if each >= FIRST else list(spans.values())[-1].append(each)
    assert list(spans) == list(range(FIRST, FIRST + len(spans)))
    assert not spans.pop(FIRST + len(spans) - 1)
    back = [i for each in source[keep][:-1].tolist() for i in (spans[each] if each >= FIRST else [each])]
    assert bytes(back).decode() == plain
    noise, count = counts(len(plain), share, mean)
    assert (sum(map(len, spans.values())), len(spans)) == (noise, count)
    assert length >= len(plain)
    assert out["decoder_input_ids"][0] == EOS
    read = out["decoder_input_ids"][out["decoder_attention_mask"]]
    assert np.array_equal(read[1:], target[target >= 0][:-1])


def test_the_counts_are_those_of_the_papers_code() -> None:
    """Transcribed: 15 % of 512 are 77 tokens in 26 spans; at least one is noise, at least one is not."""
    assert counts(512, 0.15, 3.0) == (77, 26)
    assert counts(2, 0.99, 3.0) == (1, 1)
    assert counts(10, 0.01, 3.0) == (1, 1)
    assert counts(1, 0.5, 3.0) == counts(0, 0.5, 3.0) == (0, 0)
    for n, share, mean in itertools.product((5, 64, 512, 2048), (0.1, 0.15, 0.5), (2.0, 3.0, 8.0)):
        noise = min(max(int(np.round(n * share)), 1), n - 1)
        assert counts(n, share, mean) == (noise, max(int(np.round(noise / mean)), 1))


def test_every_choice_of_spans_is_equally_likely() -> None:
    change = SpanCorruption(share=0.5, mean_length=1.5).change(BYTE)
    length, (noise, spans) = 7, counts(7, 0.5, 1.5)
    assert (noise, spans) == (4, 3)
    masks = {m for m in itertools.product("01", repeat=length) if m.count("1") == noise}
    wanted = {m for m in masks if sum(bool(part) for part in "".join(m).split("0")) == spans}
    found: Counter[tuple[str, ...]] = Counter()
    times = 300 * len(wanted)
    for n in range(times):
        mask = np.full(length, "0")
        for start, size in zip(*change.spans(length, str(n)), strict=True):
            mask[start : start + size] = "1"
        found[tuple(mask)] += 1
    assert set(found) == wanted
    assert max(abs(count - 300) for count in found.values()) < 4.5 * 300**0.5


def test_the_word_alone_decides_and_on_every_machine_alike() -> None:
    change = SpanCorruption(share=0.4).change(BYTE)
    again = pickle.loads(pickle.dumps(change))
    a, b = (each(sample("some words of a text"), "0 train 0 3") for each in (change, again))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    other = change(sample("some words of a text"), "0 train 1 3")
    assert not np.array_equal(a["labels"], other["labels"])
    assert list(zip(*(each.tolist() for each in change.spans(20, "pinned")), strict=True)) == PINNED
    assert lots("pinned", 2).tolist() == lots("pinned", 3).tolist()[:2]


def test_padding_and_ends_of_documents_are_no_text() -> None:
    out = SpanCorruption().change(BYTE)(sample("abcd|efghijkl", attention_mask=np.arange(13) < 8), "x")
    source, target = shown(out["input_ids"][out["attention_mask"]]), shown(out["labels"])
    assert set(source + target) - set("ABC.") == set("abcdefg")
    assert source.count(".") == target.count(".") == 1


SPEC = """
model: {type: encoder_decoder, d_model: 32, layers: 1, max_length: 64, block: {attention: {heads: 2}}}
tokenizer: TOKENIZER
data: {source: stdlib, length: 64}
objective: {type: span_corruption, share: SHARE, mean_length: MEAN, start: START}
"""


def spec(tokenizer: str, share: float = 0.15, mean: float = 3.0, start: str = "eos") -> bp.Spec:
    said = SPEC.replace("TOKENIZER", tokenizer).replace("SHARE", str(share)).replace("MEAN", str(mean))
    return bp.loads(said.replace("START", start))


@pytest.mark.parametrize(
    ("tokenizer", "said", "line", "message"),
    [
        ("byte", {}, 3, "of which tokenizer `byte` has 0"),
        ("{type: byte, sentinels: 3}", {}, 5, "samples of 64 tokens need 4 sentinels"),
        ("{type: byte, sentinels: 64}", {"share": 0.5, "mean": 1.0}, 5, "targets of 66 tokens do not fit"),
        ("{type: byte, sentinels: 64}", {"start": "pad"}, 5, "no id for padding"),
    ],
)
def test_what_cannot_serve_is_refused(tokenizer: str, said: dict[str, Any], line: int, message: str) -> None:
    with pytest.raises(bp.SpecError, match=message) as refused:
        spec(tokenizer, **said)
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_as_many_sentinels_as_are_asked_for_are_enough() -> None:
    assert spec("{type: byte, sentinels: 4}").vocab_size == 261
