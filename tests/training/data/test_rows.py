"""Samples of one document each: what is kept of them comes back, and no input lies in both splits."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from blueprint.training.data.dataset import Samples
from blueprint.training.data.encoder import Classes, Labelled, Pairs, joined, split
from blueprint.training.data.error import DataError
from blueprint.training.data.images import Pixels
from blueprint.training.data.rows import ImageRows, LabelledRows, PairRows
from blueprint.training.data.store import Tokens

from .conftest import Bytes

IGNORE = -100
END = 256

Make = Callable[..., Tokens]


def named(contents: Iterable[tuple[Any, str]]) -> list[tuple[str, bytes]]:
    return [(f"r{i}", joined(content)) for i, content in enumerate(contents)]


def everything(tokens: Tokens, packing: Any) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Every sample of both splits, by place in the file."""
    found = [Samples(part, packing, seed=None) for part in (tokens.train, tokens.validation)]
    return [samples[n] for samples in found for n in range(len(samples))]


def text(ids: np.ndarray[Any, Any]) -> str:
    return bytes(int(i) for i in ids).decode()


def test_two_parts_come_back_whatever_they_hold() -> None:
    for first, second in (("", "b"), ("a\t\0", "é"), (b"\0\xff", "x")):
        assert split(joined((first, second))) == (
            first if isinstance(first, bytes) else first.encode(),
            second.encode(),
        )


def test_a_pair_is_read_and_written_with_its_ends_and_one_place_apart(make: Make) -> None:
    pairs = [("ab", "xyz"), ("c", "é"), ("defgh", "long target")]
    tokens = make(named(pairs), Pairs(Bytes()))
    rows = everything(tokens, PairRows(8, 16, start_id=END, pad_id=7))
    found = set()
    for row in rows:
        kept, written = row["attention_mask"], row["decoder_attention_mask"]
        source, target = row["input_ids"][kept], row["labels"][written]
        assert source[-1] == target[-1] == END
        found.add((text(source[:-1]), text(target[:-1])))
        assert row["decoder_input_ids"][written].tolist() == [END, *target[:-1]]
        assert (row["labels"][~written] == IGNORE).all()
        assert (row["input_ids"][~kept] == 7).all()
        assert (row["decoder_input_ids"][~written] == 7).all()
    assert found == set(pairs)


def test_a_long_pair_is_cut_and_its_end_not_learned(make: Make) -> None:
    tokens = make(named([("abcdef", "uvwxyz"), ("ghijkl", "mnopqr")]), Pairs(Bytes()))
    for row in everything(tokens, PairRows(4, 3, start_id=5)):
        assert row["attention_mask"].all()
        assert END not in row["labels"]
        assert END not in row["input_ids"]
        assert row["decoder_input_ids"].tolist() == [5, *row["labels"][:2]]


def test_an_input_lies_in_one_split_whatever_its_answers(make: Make) -> None:
    pairs = [(f"s{i % 40}", f"t{i}") for i in range(400)]
    tokens = make(named(pairs), Pairs(Bytes()))
    sources = [{tuple(row["input_ids"]) for row in everything_of(part)} for part in (tokens.train, tokens.validation)]
    assert all(sources)
    assert not sources[0] & sources[1]


def everything_of(part: Any) -> list[dict[str, np.ndarray[Any, Any]]]:
    samples = Samples(part, PairRows(8, 8, start_id=END), seed=None)
    return [samples[n] for n in range(len(samples))]


def test_one_input_alone_cannot_be_held_out(make: Make) -> None:
    for pairs in ([("a", "b")], [("a", "b"), ("a", "c")]):
        with pytest.raises(DataError, match="one and the same input only"):
            make(named(pairs), Pairs(Bytes()))


def test_a_label_is_a_number_and_its_text_is_padded(make: Make) -> None:
    classes = Classes(["no", "yes"])
    said = [("good", "yes"), ("bad", "no"), ("awful, really", "no")]
    rows = everything(make(named(said), Labelled(Bytes(), classes)), LabelledRows(6))
    found = {(text(row["input_ids"][row["attention_mask"]][:3]), int(row["labels"])) for row in rows}
    assert found == {("goo", 1), ("bad", 0), ("awf", 0)}
    assert {row["labels"].shape for row in rows} == {()}


def test_more_labels_than_tokens_fit_and_an_unknown_one_is_named(make: Make) -> None:
    names = [f"class {i}" for i in range(300)]
    tokens = make(named([(f"{i}", name) for i, name in enumerate(names)]), Labelled(Bytes(), Classes(names)))
    rows = everything(tokens, LabelledRows(4))
    assert {int(row["labels"]) for row in rows} == set(range(300))
    with pytest.raises(DataError, match="the label 'c' is none of a, b"):
        make(named([("x", "a"), ("y", "c")]), Labelled(Bytes(), Classes(["a", "b"])))


def test_pixels_come_back_scaled(make: Make) -> None:
    shape, drawn = (3, 2, 4), np.random.default_rng(0)
    images = [drawn.integers(0, 256, shape, dtype=np.uint8) for _ in range(6)]
    classes = Classes(["a", "b"])
    said = [(image.tobytes(), "ab"[i % 2]) for i, image in enumerate(images)]
    tokens = make(named(said), Pixels(shape, classes))
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 0.5)
    rows = everything(tokens, ImageRows(shape, mean, std))
    found = [row["pixel_values"] for row in rows]
    assert {array.dtype for array in found} == {np.dtype("float32")}
    for i, image in enumerate(images):
        wanted = (image / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
        match = [row for row in rows if np.allclose(row["pixel_values"], wanted, atol=1e-6)]
        assert [int(row["labels"]) for row in match] == [i % 2]
    with pytest.raises(DataError, match="5 values, and not the 24"):
        make(named([(b"12345", "a"), (b"54321", "a")]), Pixels(shape, classes))


def test_rows_that_fill_a_batch_count_for_nothing_also_where_a_label_is_one_number(make: Make) -> None:
    tokens = make(named([("a", "x"), ("b", "y")]), Labelled(Bytes(), Classes(["x", "y"])))
    filler = Samples(tokens.train, LabelledRows(4), seed=None)[-1]
    assert filler["labels"] == IGNORE
    assert filler["place"] == -1


def test_samples_travel_to_other_processes(make: Make) -> None:
    tokens = make(named([("ab", "x"), ("cd", "y")]), Pairs(Bytes()))
    samples = Samples(tokens.train, PairRows(4, 4, start_id=END), seed=3)
    again = pickle.loads(pickle.dumps(samples))
    assert all((again[5][name] == value).all() for name, value in samples[5].items())
