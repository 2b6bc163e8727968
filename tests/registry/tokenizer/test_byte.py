"""The byte tokenizer loses nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blueprint_registry.tokenizer.byte import Byte

BYTE = Byte()


@given(st.text())
def test_text_comes_back(text: str) -> None:
    ids = BYTE.encode(text)
    assert BYTE.decode(ids) == text
    assert ids.ndim == 1
    assert len(ids) == len(text.encode())


@given(st.binary())
def test_any_bytes_come_back_as_bytes(data: bytes) -> None:
    assert BYTE.decode_bytes(list(data)) == data
    assert BYTE.decode(list(data)) == data.decode("utf-8", "replace")


@given(st.text(), st.text())
def test_the_ids_of_a_text_are_those_of_its_pieces(a: str, b: str) -> None:
    assert np.array_equal(BYTE.encode(a + b), np.concatenate([BYTE.encode(a), BYTE.encode(b)]))


def test_an_end_is_no_text() -> None:
    assert BYTE.eos_id == 256
    assert BYTE.vocab_size == 257
    assert BYTE.decode([104, 105, BYTE.eos_id]) == "hi"


def test_one_chinese_character_is_three_tokens() -> None:
    assert BYTE.encode("你").tolist() == [0xE4, 0xBD, 0xA0]
    assert BYTE.decode([0xE4, 0xBD]) == "\ufffd"


def test_a_lone_surrogate_does_not_stop_it() -> None:
    assert len(BYTE.encode("a\ud800b")) == 5
    assert BYTE.decode(BYTE.encode("a\ud800b")).startswith("a\ufffd")


def test_ids_may_come_as_any_kind_of_sequence() -> None:
    import torch

    for ids in ([72, 105], (72, 105), iter([72, 105]), np.array([72, 105], dtype=np.uint16), torch.tensor([72, 105])):
        assert BYTE.decode(ids) == "Hi"
