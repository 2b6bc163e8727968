"""An override says one value more, as a file above the spec would."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.diagnosis import Problem
from blueprint.kinds import Norm
from blueprint.load.dump import dump
from blueprint.load.overrides import apply
from blueprint.load.reader import read, source_of
from blueprint.schema.shape import Shape
from blueprint.tree import Map, find, plain

NORM = Shape("slot", Norm, Norm, default="rms")


def changed(text: str, *overrides: str, shape: Shape | None = None) -> tuple[Map, list[Problem]]:
    root = read(text, source_of(text, "spec.yaml"))
    assert isinstance(root, Map)
    return apply(root, overrides, shape)


def value(text: str, *overrides: str, shape: Shape | None = None) -> Any:
    root, problems = changed(text, *overrides, shape=shape)
    assert problems == []
    return plain(root)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("12", 12),
        ("no", "no"),
        ("1e-4", 1e-4),
        ("12:30:00", "12:30:00"),
        ("[1, 2]", [1, 2]),
        ("{type: rope, theta: 1e4}", {"type": "rope", "theta": 1e4}),
        ("'12'", "12"),
        ("a=b", "a=b"),
        ("true", True),
        ("${model.x}", "${model.x}"),
    ],
)
def test_values_are_read_like_values_in_a_file(said: str, expected: Any) -> None:
    out = value("model: {x: 1}", f"model.y={said}")["model"]["y"]
    assert out == expected
    assert type(out) is type(expected)


def test_paths_lead_through_maps_and_lists_and_make_what_is_missing() -> None:
    assert value("a: {b: [1, {c: 2}]}", "a.b.1.c=3", "a.b.0=x", "d.e.f=4") == {
        "a": {"b": ["x", {"c": 3}]},
        "d": {"e": {"f": 4}},
    }


def test_the_last_override_wins_and_null_removes() -> None:
    assert value("a: 1\nb: 2", "a=3", "a=4", "b=null") == {"a": 4}


def test_a_path_through_a_shorthand_keeps_its_type() -> None:
    assert value("{}", "eps=1e-5", shape=NORM) == {"eps": 1e-5}
    shape = Shape("map", None, item=NORM)
    assert value("norm: rms", "norm.eps=1e-5", shape=shape) == {"norm": {"type": "rms", "eps": 1e-5}}
    assert value("norms: [rms]", "norms.0.eps=1", shape=Shape("map", None, item=Shape("list", None, item=NORM))) == {
        "norms": [{"type": "rms", "eps": 1}]
    }


keys = st.text("abc", min_size=1, max_size=3)
flat = st.dictionaries(keys, st.dictionaries(keys, st.integers() | st.text("xy z", min_size=1), max_size=3), max_size=3)


@given(flat, flat)
def test_overrides_are_a_file_merged_above(base: Any, over: Any) -> None:
    texts = [f"{a}.{b}={dump(v)}" for a, inner in over.items() for b, v in inner.items()]
    expected = {key: {**base.get(key, {}), **over.get(key, {})} for key in {*base, *over}}
    assert value(dump(base), *texts) == {k: v for k, v in expected.items() if v or k in base}


def test_a_value_knows_its_place_in_the_override() -> None:
    root, _ = changed("model: {layers: 2}", "model.layers=12")
    leaf, entry, _ = find(root, ("model", "layers"))
    assert entry is not None
    assert (str(leaf.span), leaf.span.length, str(entry.span)) == ("override:1:14", 2, "override:1:7")
    assert leaf.notes == ("set by the override `model.layers=12`",)


def test_what_an_override_only_passes_through_keeps_its_place() -> None:
    root, _ = changed("model: {layers: 2}", "model.layers=12")
    assert str(root.entries["model"].span) == "spec.yaml:1:1"


@pytest.mark.parametrize(
    ("override", "column", "word"),
    [
        ("=3", 1, "path before"),
        ("model.layers", 1, "no `=`"),
        ("", 1, "no `=`"),
        ("model.layers=", 13, "value after"),
        ("model.layers= ", 13, "value after"),
        ("model layers=3", 6, "cannot stand"),
        (" model.layers=3", 1, "cannot stand"),
        ("model.layers =3", 13, "cannot stand"),
        ("model..layers=3", 7, "between its dots"),
        (".model=3", 1, "between its dots"),
        ("model[0]=3", 6, "cannot stand"),
        ("model.list.7=3", 12, "no index"),
        ("model.list.-1=3", 12, "no index"),
        ("model.list.x=3", 12, "no index"),
        ("model.empty.0=3", 13, "empty list"),
        ("model.layers.deep=3", 14, "leads into `2`"),
        ("model.x=[1", 9, "never closed"),
        ("model.x={a: 1, a: 2}", 16, "twice"),
        ("model.x=!!str 3", 9, "tags"),
        ("extends=x.yaml", 1, "before overrides"),
        ("plugins=[./x.py]", 1, "before overrides"),
        ("plugins.0=./x.py", 1, "before overrides"),
        ("blueprint=2", 1, "before overrides"),
    ],
)
def test_a_malformed_override_is_shown_and_changes_nothing(override: str, column: int, word: str) -> None:
    text = "model: {layers: 2, list: [a], empty: []}"
    root, (problem,) = changed(text, override)
    assert plain(root) == plain(read(text, source_of(text, "spec.yaml")))
    assert word in problem.message
    assert problem.span is not None
    assert (problem.span.source.name, problem.span.column) == ("override", column)
    assert str(problem)


@given(st.text(max_size=30))
def test_no_text_makes_an_override_fail_otherwise_than_by_problems(text: str) -> None:
    root, problems = changed("a: 1\nb: [1]", text)
    assert all(map(str, problems))
    assert isinstance(root, Map)
