"""Fill-in-the-middle: what is rearranged can be put back, at the rates that are said, and labels follow."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint_registry.objective.fill_in_the_middle import FillInTheMiddle
from blueprint_registry.tokenizer.byte import Byte

BYTE = Byte(sentinels=3)
EOS, PRE, SUF, MID = 256, 257, 258, 259
SHOWN = {EOS: "|", PRE: "<", SUF: ">", MID: "^"}


def sample(text: str) -> dict[str, Any]:
    """A packed window: its last character is a label only."""
    ids = np.array([EOS if c == "|" else ord(c) for c in text], dtype=np.int64)
    segments = np.cumsum(np.concatenate([[0], ids[:-1] == EOS]))[:-1]
    begins = np.flatnonzero(np.diff(segments, prepend=-1))
    positions = np.arange(len(ids) - 1) - begins[segments]
    return {"input_ids": ids[:-1], "labels": ids[1:], "segment_ids": segments, "position_ids": positions}


def filled(text: str, word: str = "w", **said: Any) -> str:
    """What a window becomes, its last label with it."""
    out = FillInTheMiddle(**said).change(BYTE)(sample(text), word)
    assert np.array_equal(out["input_ids"][1:], out["labels"][:-1])
    ids = [*out["input_ids"].tolist(), int(out["labels"][-1])]
    return "".join(SHOWN.get(each) or chr(each) for each in ids)


def put_back(piece: str) -> str:
    """The document that a piece was, by the forms of section 3: PSM, or the second variant of SPM."""
    if not piece.startswith("<"):
        return piece
    before, rest = piece[1:].split(">")
    after, middle = rest.split("^")
    if piece.startswith("<>"):  # no prefix, or SPM, which puts it before the middle
        end = "|" if middle.endswith("|") else ""
        return middle.removesuffix("|") + after + end
    end = "|" if middle.endswith("|") else ""
    return before + middle.removesuffix("|") + after + end


@settings(max_examples=100, deadline=None)
@given(st.text("abcd|", min_size=2, max_size=60), st.text(max_size=6), st.sampled_from([0.0, 0.5, 1.0]))
def test_put_back_it_is_the_text_up_to_what_has_no_room(text: str, word: str, spm: float) -> None:
    found = filled(text, word, rate=0.7, spm=spm)
    assert len(found) == len(text)
    pieces = [each for each in found.replace("|", "|\n").split("\n") if each]
    documents = [each for each in text.replace("|", "|\n").split("\n") if each]
    for index, (piece, document) in enumerate(zip(pieces, documents, strict=False)):
        whole = index < len(pieces) - 1
        assert put_back(piece) == document if whole else document.startswith(put_back(piece))


def test_segments_and_positions_are_those_of_the_documents_as_they_stand_now() -> None:
    out = FillInTheMiddle(rate=1.0).change(BYTE)(sample("abc|defg|hi|jklmnop"), "w")
    shown = "".join(SHOWN.get(int(each)) or chr(each) for each in out["input_ids"])
    begins = [0, *(at + 1 for at, c in enumerate(shown) if c == "|")]
    wanted = [sum(begin <= at for begin in begins) - 1 for at in range(len(shown))]
    assert out["segment_ids"].tolist() == wanted
    assert out["position_ids"].tolist() == [at - begins[s] for at, s in enumerate(wanted)]


def test_so_many_are_rearranged_and_cut_anywhere() -> None:
    text = "abcdef" + "|" * 12
    found = [filled(text, str(n), rate=0.8, spm=0.25) for n in range(3000)]
    changed = [each for each in found if each.startswith("<")]
    assert len(changed) / 3000 == pytest.approx(0.8, abs=0.03)
    psm = [each for each in changed if each[1] != ">"]
    # Two cuts anywhere, ends included: the prefix is empty in 1 - (6/7)² of the texts.
    assert len(psm) / len(changed) == pytest.approx(0.75 * (6 / 7) ** 2, abs=0.03)
    every = Counter(filled(text, str(n), rate=1.0, spm=0.0).split("|")[0] for n in range(4900))
    assert len(every) == 28
    assert every["<>^abcdef"] + every["<abcdef>^"] == pytest.approx(100 + 200, abs=60)


def test_padding_stays_and_the_word_alone_decides() -> None:
    arrays = {**sample("abcdefgh|xx"), "attention_mask": np.arange(10) < 8, "segment_ids": np.zeros(10, np.int64)}
    arrays["labels"] = np.where(arrays["attention_mask"], arrays["labels"], -100)
    del arrays["position_ids"]
    change = FillInTheMiddle(rate=1.0).change(BYTE)
    copy = {name: value.copy() for name, value in arrays.items()}
    out, again = change(arrays, "w"), pickle.loads(pickle.dumps(change))(arrays, "w")
    assert all(np.array_equal(arrays[name], copy[name]) for name in arrays)
    assert all(np.array_equal(out[name], again[name]) for name in out)
    assert out["input_ids"][0] == PRE
    assert (out["labels"] != -100).tolist() == arrays["attention_mask"].tolist()
    assert np.array_equal(out["input_ids"][8:], arrays["input_ids"][8:])
    assert not np.array_equal(out["input_ids"], change(arrays, "v")["input_ids"])


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    model = "model: {type: decoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}"
    with pytest.raises(bp.SpecError, match="of which tokenizer `byte` has 2"):
        bp.loads(f"{model}\ntokenizer: {{type: byte, sentinels: 2}}\nobjective: fill_in_the_middle")
