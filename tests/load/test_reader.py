"""A spec's text is read as YAML 1.2, with places, and whatever is wrong with it is said where it is."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blueprint.diagnosis import Problem, SpecError
from blueprint.load import reader
from blueprint.load.dump import dump
from blueprint.load.reader import read, scan, source_of
from blueprint.tree import Map, Node, Seq, find, plain


def value(text: str) -> Any:
    return plain(read(text, source_of(text, "spec.yaml")))


def problems(text: str) -> list[Problem]:
    return scan(text, source_of(text, "spec.yaml")).problems


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def node(text: str, *path: str) -> Node:
    found, _, taken = find(read(text, source_of(text, "spec.yaml")), path)
    assert taken == len(path)
    return found


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)


def no_empty_key(document: Any) -> bool:
    if isinstance(document, dict):
        return "" not in document and all(map(no_empty_key, document.values()))
    return all(map(no_empty_key, document)) if isinstance(document, list) else True


@given(documents.filter(no_empty_key))
def test_what_was_dumped_reads_back(document: Any) -> None:
    assert value(dump(document)) == document


finite = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text("abc é日\n\"'\\:#{}[]-", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(finite)
def test_json_means_what_it_means(document: Any) -> None:
    assert value(json.dumps(document, ensure_ascii=False)) == document


@given(finite)
def test_block_yaml_means_what_pyyaml_writes(document: Any) -> None:
    assert value(yaml.safe_dump(document, allow_unicode=True)) == document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("1e5", 1e5),
        ("+1.5E+3", 1500.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("", None),
        ("none", "none"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0b11", "0b11"),
        ("'8'", "8"),
        ('"null"', "null"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, expected: Any) -> None:
    read_value = value(f"x: {text}")["x"]
    assert read_value == expected
    assert type(read_value) is type(expected)


def test_not_a_number_is_one() -> None:
    assert math.isnan(value("x: .nan")["x"])


@pytest.mark.parametrize(
    ("text", "word"), [("yes", "true"), ("Off", "false"), ("1_000", "1000"), ("heads:8", "space after its colon")]
)
def test_text_that_looks_like_something_else_carries_a_hint(text: str, word: str) -> None:
    leaf = node(f"x: {text}", "x")
    assert any(word in note for note in leaf.notes)


def test_keys_and_values_know_their_place() -> None:
    text = 'model:\n  heads: 12\n  "quoted key": "a string"   # comment\n  list: [1, {deep: no}]\n  text: |\n    x\n'
    root = read(text, source_of(text, "spec.yaml"))
    _, entry, _ = find(root, ("model", "heads"))
    assert entry is not None
    assert (entry.span.line, entry.span.column, entry.span.length) == (2, 3, 5)
    places = {path: node(text, "model", *path).span for path in [("heads",), ("quoted key",), ("list", "1", "deep")]}
    assert [(span.line, span.column, span.length) for span in places.values()] == [(2, 10, 2), (3, 17, 10), (4, 20, 2)]
    assert all(span.text == text.splitlines()[span.line - 1] for span in places.values())
    assert node(text, "model", "list").span.length == len("[1, {deep: no}]")


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 999), min_size=1, max_size=8))
def test_every_place_holds_the_text_it_stands_for(document: dict[str, int]) -> None:
    text = yaml.safe_dump({"outer": document})
    outer = node(text, "outer")
    assert isinstance(outer, Map)
    for key, entry in outer.entries.items():
        for span, said in ((entry.span, key), (entry.value.span, str(document[key]))):
            found = span.text[span.column - 1 : span.column - 1 + span.length]
            assert found.strip("'\"") == said


def test_every_duplicate_key_is_reported_and_both_places_named() -> None:
    found = problems("a: 1\nb: {x: 1, 'x': 2}\na: 2\n0: x\n'0': y\n")
    assert [(p.span.line, p.span.column) for p in found if p.span] == [(2, 11), (3, 1), (5, 1)]
    assert "spec.yaml:1:1" in found[1].message
    assert found[0].path == ("b", "x")


def test_keys_are_strings() -> None:
    assert value("0: a\n-1: b\ntrue: c\n1.10: d\nnull: e\n") == {
        "0": "a",
        "-1": "b",
        "true": "c",
        "1.10": "d",
        "null": "e",
    }


def test_aliases_repeat_a_value_and_say_where() -> None:
    text = "a: &x {b: 1}\nc: *x\nd: [*x, *x]\n"
    assert value(text) == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}
    assert any("spec.yaml:2:4" in note for note in node(text, "c").notes)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: !!str 3\n", "tag", 1, 4),
        ("a: !!python/object:os.system {}\n", "tag", 1, 4),
        ("a: !mine [1]\n", "tag", 1, 4),
        ("base: &b {x: 1}\na:\n  <<: *b\n", "merge-key", 3, 3),
        ("a: *nothing\n", "alias", 1, 4),
        ("a: &x [*x]\n", "alias", 1, 8),
        ("? [1, 2]\n: 3\n", "key", 1, 3),
        ("? {a: 1}\n: 3\n", "key", 1, 3),
        ("a: 1\n--- \nb: 2\n", "documents", 2, 1),
        ("a: 1e999\n", "number", 1, 4),
        ("a: " + "9" * 4301, "number", 1, 4),
        ("a: 0x" + "f" * 4301, "number", 1, 4),
        ("a: 1\nb: x\0y\n", "syntax", 2, 5),
        ("a: 1\nb: \x1b[31m\n", "syntax", 2, 4),
    ],
)
def test_what_a_spec_may_not_hold(text: str, code: str, line: int, column: int) -> None:
    problem = only(text)
    assert problem.span is not None
    assert (problem.code, problem.span.line, problem.span.column) == (code, line, column)


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert value('"<<": 1') == {"<<": 1}


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("model:\n\tlayers: 4\n", 2, 1, "tab"),
        ("model:\n  layers: 4\n\theads: 4\n", 3, 1, "tab"),
        ("model:\n  layers: 4\n  heads:8\n  d: 3\n", 3, 3, "space after its colon"),
        ("name:x\nmodel: 3\n", 1, 1, "space after its colon"),
        ("model:\n  heads:8\n  d: 3\n", 2, 3, "space after its colon"),
        ("model:\n  layers\n  heads: 2\n", 2, 3, "neither `key: value`"),
        ("a: b: c\n", 1, 5, "second"),
        ("model:\n  pattern: [local, global\n  layers: 3\n", 2, 12, "never closed"),
        ("a: {x: 1, y: 2\nb: 3\n", 1, 4, "never closed"),
        ("a: [1 2\n", 1, 4, "never closed"),
        ('a: "abc\nb: 3\n', 1, 4, "never closed"),
        ("a: 'abc\nb: 3\n", 1, 4, "never closed"),
        ("a: {x: ${y}}\n", 1, 8, "needs quotes"),
        ("a: {x: h.{i}.b}\n", 1, 10, "a text with { in it needs quotes"),
        ("a: {x: h[i] == 1}\n", 1, 9, "a text with [ in it needs quotes"),
        ("a:\n    b: 1\n  c: 2\n", 3, 3, "indentation"),
        ("a: 1\n  b: 2\n", 2, 3, "deeper"),
        ("a:\n  - 1\n  b: 2\n", 3, 3, "list"),
        ("a: @x\n", 1, 4, "cannot start"),
        ("a: `x`\n", 1, 4, "cannot start"),
        ("a: ]\n", 1, 4, "expected"),
        (": 3\n", 1, 1, "key is missing"),
        ('a: "x" y\n', 1, 8, "already ended"),
    ],
)
def test_broken_yaml_is_explained_at_its_place(
    monkeypatch: pytest.MonkeyPatch, parser: str, text: str, line: int, column: int, word: str
) -> None:
    if not hasattr(yaml, parser):
        pytest.fail("pyyaml was installed without libyaml, which reading needs to be fast")
    monkeypatch.setattr(reader, "_LOADER", getattr(yaml, parser))
    problem = only(text)
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (line, column)
    assert word in problem.message


def test_what_was_found_before_a_syntax_error_is_reported_with_it() -> None:
    assert [problem.code for problem in problems("a: 1\na: 2\nb: [1\n")] == ["duplicate-key", "syntax"]


def bomb(levels: int = 9) -> str:
    names = "abcdefghijkl"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{names[i]}: &{names[i]} [{', '.join(['*' + names[i - 1]] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (bomb(), "too-large"),
        ("[" * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("\n".join(" " * i + "a:" for i in range(2000)), "too-deep"),
        ("a: &x " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*x" + "]" * 60, "too-deep"),
        ("- 1\n" * 300_000, "too-large"),
        ("x" * 10_000_001, "too-large"),
        ("a: 1\n" * 100_000, "duplicate-key"),
        ("? " * 50_000, "too-deep"),
        ("- " * 50_000, "too-deep"),
    ],
)
def test_hostile_text_is_refused_quickly(text: str, code: str) -> None:
    before = time.process_time()
    with pytest.raises(SpecError) as caught:
        read(text, source_of(text, "spec.yaml"))
    assert caught.value.problems[-1].code == code
    assert len(caught.value.problems) <= 101
    assert time.process_time() - before < 2


@given(st.text(max_size=60))
def test_no_text_makes_reading_fail_otherwise_than_by_problems(text: str) -> None:
    reading = scan(text, source_of(text, "spec.yaml"))
    assert (reading.node is not None) or reading.problems
    for problem in reading.problems:
        assert str(problem)
        assert problem.span is not None
        assert problem.span.line <= max(1, len(problem.span.source.lines))


@given(st.text("ab:-[]{}'\"&*!|>%@`#?, \n\t0$", max_size=40))
def test_no_yaml_like_text_does_either(text: str) -> None:
    test_no_text_makes_reading_fail_otherwise_than_by_problems.hypothesis.inner_test(text)  # type: ignore[attr-defined]


def test_a_list_of_scalars_keeps_each_place() -> None:
    items = node("a: [x, yy]", "a")
    assert isinstance(items, Seq)
    assert [(item.span.column, item.span.length) for item in items.items] == [(5, 1), (8, 2)]
