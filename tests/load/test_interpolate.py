"""`${…}` says again what is said elsewhere, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.load.dump import dump
from blueprint.load.interpolate import Interpolated, interpolate
from blueprint.load.reader import read, source_of
from blueprint.tree import Map, find, plain


def resolved(text: str) -> Interpolated:
    root = read(text, source_of(text, "spec.yaml"))
    assert isinstance(root, Map)
    return interpolate(root)


def value(text: str, key: str = "x") -> Any:
    out = resolved(text)
    assert out.problems == []
    assert not out.broken
    return plain(out.root)[key]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("${model.d_model}", 256),
        ("${ model.d_model }", 256),
        ("${.y}", 7),
        ("d${model.d_model}-${y}", "d256-7"),
        ("${model.list[1].deep}", "found"),
        ("${model.list.1.deep}", "found"),
        ("${model.overrides.0.heads}", 3),
        ("${model.overrides.-1.heads}", 4),
        ("${model.flag}", True),
        ("${model.nothing}", None),
        ("${model.rate}", 1e-4),
        ("${model.text}", "12"),
        ("${chain}", 256),
        ("${calc:'${model.d_model} * 4'}", 1024),
        ("${calc:'4 * model.d_model'}", 1024),
        ("${calc:'model.d_model / 2'}", 128),
        ("${calc:'${model.negative} ** 2'}", 4),
        ("${calc:'10 - ${model.negative}'}", 12),
        ("${calc:'${model.rate} * 3'}", 3e-4),
        ("${calc:'chain + ${chain}'}", 512),
        ('${calc:"1 + 1"}', 2),
        ("w${calc:'model.d_model / 4'}", "w64"),
        ("\\${model.d_model}", "${model.d_model}"),
        ("${escaped}!", "${model.d_model}!"),
    ],
)
def test_an_expression_has_the_value_and_type_of_what_it_names(expression: str, expected: Any) -> None:
    text = (
        "model:\n  d_model: 256\n  flag: true\n  nothing: null\n  rate: 1e-4\n  text: '12'\n  negative: -2\n"
        "  list: [a, {deep: found}]\n  overrides: {0: {heads: 3}, '-1': {heads: 4}}\ny: 7\nchain: ${model.d_model}\n"
        f"escaped: '\\${{model.d_model}}'\nx: {dump(expression)}\n"
    )
    out = value(text)
    assert out == pytest.approx(expected) if isinstance(expected, float) else out == expected
    assert type(out) is type(expected)


def test_relative_names_climb_from_where_they_stand() -> None:
    text = "a: {b: {c: 1, x: '${.c}', y: '${..d}', z: '${...e}'}, d: 2}\ne: 3"
    assert value(text, "a")["b"] == {"c": 1, "x": 1, "y": 2, "z": 3}


def test_a_map_may_be_copied_with_what_it_refers_to() -> None:
    text = 'base: {d: 4, twice: "${calc:\'2 * base.d\'}", list: ["${.}"]}\nx: ${base}'.replace(', list: ["${.}"]', "")
    assert value(text) == {"d": 4, "twice": 8}
    assert value("base: [1, 2]\nx: ${base}") == [1, 2]
    assert value("base: {d: {e: 5}}\ncopy: ${base}\nx: ${copy.d.e}") == 5


def test_a_result_keeps_the_place_of_its_expression() -> None:
    out = resolved("a: 4\nb: {c: 5}\nx: ${a}\ny: ${b}").root
    leaf = out.get("x")
    assert leaf is not None
    assert (str(leaf.span), leaf.notes) == ("spec.yaml:3:4", ("from ${a}",))
    inner, _, _ = find(out, ("y", "c"))
    assert str(inner.span) == "spec.yaml:4:4"
    assert any("spec.yaml:2:4" in note for note in inner.notes)


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.integers() | st.booleans() | st.text("x${}\\'\" ", max_size=9)
    )
)
def test_a_tree_without_expressions_is_left_as_it_is(value: dict[str, Any]) -> None:
    text = dump({key: re.sub(r"\$+(?=\{)", "", item) if isinstance(item, str) else item for key, item in value.items()})
    root = read(text, source_of(text, "spec.yaml"))
    assert isinstance(root, Map)
    assert interpolate(root).root is root


@given(st.text("x${}\\'\" .", max_size=12).filter(lambda text: "${" not in text and "?" not in text))
def test_any_text_is_handed_on_whole(text: str) -> None:
    assert value(dump({"a": text, "x": "${a}", "y": "<${a}>"}), "x") == text
    assert value(dump({"a": text, "x": "<${a}>"}), "x") == f"<{text}>"


@pytest.mark.parametrize(
    ("expression", "offset", "length", "word"),
    [
        ("${modle.d}", 0, 10, "did you mean `model.d`"),
        ("see ${model.dd}", 4, 11, "did you mean `model.d`"),
        ("${model.d.e}", 0, 12, "has no `e`"),
        ("${model.list.9}", 0, 15, "list of 1"),
        ("${oc.env:HOME}", 0, 14, "`oc.env` cannot be used"),
        ("${env:HOME,x}", 0, 13, "`env` cannot be used"),
        ("${oc.decode:'1'}", 0, 16, "`oc.decode` cannot be used"),
        ("${calc:4}", 0, 9, "quotes"),
        ("${calc:'1/0'}", 0, 13, "zero"),
        ("${calc:'2 +'}", 0, 13, "ends"),
        ("${calc:'9**9**9'}", 0, 17, "bounds"),
        ("${calc:'model.z'}", 0, 17, "not said"),
        ("${calc:'model.list'}", 0, 20, "not a number"),
        ("${calc:'${model.text} + 1'}", 0, 27, "`abc` has no value"),
        ("${calc:'${calc:1}'}", 8, 9, "inside a calc"),
        ("${model.d * 2}", 0, 14, "calc"),
        ("${sqrt(model.d)}", 0, 16, "calc"),
        ("${${model.text}}", 0, 15, "path"),
        ("${model.d", 0, 2, "never closed"),
        ("${}", 0, 3, "path"),
        ("${...x}", 0, 7, "above the top"),
        ("a${model}", 1, 8, "is a map"),
        ("a${model.list}", 1, 13, "is a list"),
        ("${x}", 0, 4, "circle: x needs x"),
        ("${.}", 0, 4, "path"),
    ],
)
def test_what_cannot_be_resolved_is_shown_at_its_place(expression: str, offset: int, length: int, word: str) -> None:
    out = resolved(f"model: {{d: 4, text: abc, list: [1]}}\nx: {dump(expression)}\n")
    (problem,) = out.problems
    assert word in str(problem)
    assert problem.span is not None
    assert (problem.span.line, problem.span.column, problem.span.length) == (2, 5 + offset, length)
    assert out.broken == {("x",)}
    assert plain(out.root)["x"] == expression


def test_a_circle_names_its_members_once() -> None:
    out = resolved("a: ${b}\nb: ${c.d}\nc: {d: '${a}'}\ne: ${c}")
    (problem,) = out.problems
    assert "a needs b needs c.d needs a" in problem.message
    assert out.broken == {("a",), ("b",), ("c", "d"), ("e",)}


def test_a_map_that_holds_its_own_copy_is_a_circle() -> None:
    (problem,) = resolved("a: {b: {c: '${a}'}}").problems
    assert "circle" in problem.message


def test_every_mistake_is_reported_and_the_rest_resolved() -> None:
    out = resolved("m: 1\na: ${n}\nb: ${m}\nc: ${calc:'1/0'}")
    assert len(out.problems) == 2
    assert plain(out.root)["b"] == 1


def doubling(levels: int, width: int = 2) -> str:
    return "x0: " + "a" * 20 + "\n" + "".join(f"x{i + 1}: '{f'${{x{i}}}' * width}'\n" for i in range(levels))


@pytest.mark.parametrize(
    "text",
    [
        doubling(25),
        doubling(29, 9),
        "a: ${b}\nb: " + "${c}" * 150 + "\nc: " + "x" * 1000,
        "".join(f"x{i}: ${{x{i + 1}}}\n" for i in range(1000)) + "x1000: 1",
        "b: [" + "1, " * 50_000 + "1]\n" + "".join(f"x{i}: ${{b}}\n" for i in range(1000)),
        "a: 1\n" + "".join(f"x{i}: ${{a}}\n" for i in range(20_000)),
        "m0: {a: 1, b: 2}\n" + "".join(f"m{i + 1}: {{a: '${{m{i}}}', b: '${{m{i}}}'}}\n" for i in range(28)),
        "x: " + "${a}" * 50_000 + "\na: 1",
        "x: '" + "${" * 50_000 + "'",
        "x: ${calc:'" + "(" * 5000 + "'}",
        "a: 1\nx: ${calc:'" + "${a}+" * 190 + "1'}",
    ],
)
def test_a_bomb_is_defused_quickly(text: str) -> None:
    before = time.process_time()
    out = resolved(text)
    assert time.process_time() - before < 2
    assert out.problems or len(str(plain(out.root))) < 1_000_000


def test_hostile_text_costs_problems_not_values() -> None:
    assert resolved(doubling(25)).problems
    assert "deep" in resolved("".join(f"x{i}: ${{x{i + 1}}}\n" for i in range(100)) + "x100: 1").problems[0].message


@given(st.text("${}.'\"calc:xa \\[]0+", max_size=30))
def test_no_text_makes_it_fail_otherwise_than_by_problems(text: str) -> None:
    out = resolved(dump({"a": {"x": 1}, "y": text}))
    assert all(map(str, out.problems))
    assert bool(out.broken) == bool(out.problems)


def test_the_environment_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SECRET", "told")
    for text in ("${oc.env:SECRET}", "a${oc.env:SECRET}", "${ oc.env : SECRET }", "${calc:'${oc.env:SECRET}'}"):
        assert "told" not in str(plain(resolved(dump({"x": text})).root))


def test_omegaconf_is_imported_only_for_expressions() -> None:
    code = (
        "import sys\nfrom blueprint.load.document import document\n"
        "document('a: 1', text=True)\nassert 'omegaconf' not in sys.modules\n"
        "document('a: 1\\nb: ${a}', text=True)\nassert 'omegaconf' in sys.modules\n"
        "assert 'torch' not in sys.modules and 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
