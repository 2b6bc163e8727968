"""Prefix language modelling: a text parted anywhere, the first part to read, the second to write."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest

import blueprint as bp
from blueprint_registry.objective.prefix import Prefix
from blueprint_registry.tokenizer.byte import Byte

EOS = 256


def parted(text: str, word: str, **more: Any) -> tuple[str, str]:
    ids = np.array([EOS if c == "|" else ord(c) for c in text], dtype=np.int64)
    change = pickle.loads(pickle.dumps(Prefix().change(Byte())))
    out = change({"input_ids": ids[:-1], "labels": ids[1:], **more}, word)
    assert {len(each) for each in out.values()} == {len(text) - 1}
    assert out["decoder_input_ids"][0] == EOS
    target = out["labels"][out["decoder_attention_mask"]]
    assert (out["labels"] == -100).sum() == len(text) - 1 - len(target)
    assert np.array_equal(out["decoder_input_ids"][1 : len(target)], target[:-1])
    shown = ("".join("|" if i == EOS else chr(i) for i in each) for each in (out["input_ids"], target))
    source, written = shown
    return source[: out["attention_mask"].sum()], written


def test_it_is_parted_anywhere_equally_often() -> None:
    found = Counter(parted("abc|e", str(n)) for n in range(1600))
    assert set(found) == {("a", "bc|e"), ("ab", "c|e"), ("abc", "|e"), ("abc|", "e")}
    assert max(abs(count - 400) for count in found.values()) < 80


def test_padding_is_no_text() -> None:
    keep = np.arange(5) < 3
    assert {"".join(parted("abcdXX", str(n), attention_mask=keep)) for n in range(20)} == {"abcd"}


def test_a_decoder_is_refused() -> None:
    model = "model: {type: decoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}"
    with pytest.raises(bp.SpecError, match="trains models of type encoder_decoder"):
        bp.loads(f"{model}\ntokenizer: byte\nobjective: prefix")
