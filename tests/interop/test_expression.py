"""Expressions of families mean what they mean in Python, choose by a config, and end in a fault with a place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint import arithmetic
from blueprint.interop.expression import MAX_DEPTH, MAX_TOKENS, ExpressionFault, Missing, evaluate, parse

VALUES: dict[str, Any] = {
    "hf": {"hidden_size": 64, "types": ["near", "far"], "tie": False, "window": None, "rope": {"far": {"theta": 5.0}}},
    "i": 1,
    "n": 4,
    "kind": "far",
}


class Names:
    """A scope of plain values that remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def look(self, path: tuple[str | int, ...]) -> Any:
        self.asked.append(".".join(map(str, path)))
        value: Any = VALUES
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                raise Missing(f"no `{step}`", suggestion="hf.hidden_size") from None
        return value

    def said(self, path: tuple[str | int, ...]) -> bool:
        try:
            return self.look(path) is not None
        except Missing:
            return False


def value(text: str) -> Any:
    return evaluate(text, Names())


def numbers() -> st.SearchStrategy[str]:
    return st.recursive(
        st.integers(0, 9).map(str) | st.sampled_from(["2.5", "1e-3", "sqrt(4)", "min(3, 2)", "ceil(2.2)"]),
        lambda inner: (
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(" ".join)
            | inner.map(lambda text: f"({text})")
            | inner.map(lambda text: f"-{text}")
        ),
        max_leaves=8,
    )


@given(numbers())
def test_arithmetic_is_that_of_specs(text: str) -> None:
    """One grammar: whatever a spec's number may say has the same value and type in a family, or fails in both."""
    try:
        expected = arithmetic.parse(text).evaluate({})
    except arithmetic.ArithmeticFault:
        with pytest.raises(ExpressionFault):
            value(text)
        return
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def conditions() -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["true", "false", "1 < 2", "2 != 2", "'a' in ['a', 'b']", "3 not in [1, 2]", "1 >= 1"])
    return st.recursive(
        leaf,
        lambda inner: (
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join)
            | inner.map(lambda text: f"({text})")
            | inner.map(lambda text: f"not {text}")
            | st.tuples(inner, inner, inner).map(lambda t: f"{t[0]} if {t[1]} else {t[2]}")
        ),
        max_leaves=8,
    )


@given(conditions())
def test_conditions_are_pythons(text: str) -> None:
    try:
        expected = eval(text, {"true": True, "false": False})
    except SyntaxError:
        with pytest.raises(ExpressionFault):
            value(text)
        return
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf.hidden_size // 4", 16),
        ("hf.types[i]", "far"),
        ("hf.types[-2]", "near"),
        ("hf.types[i - 1] == 'near'", True),
        ("hf.rope[kind].theta", 5.0),
        ("hf.rope[hf.types[1]].theta * 2", 10.0),
        ("[i, n, 'x']", [1, 4, "x"]),
        ("[]", []),
        ("len(hf.types) + len('abc')", 5),
        ("has(hf.window) or has(hf.gone)", False),
        ("has(hf.types)", True),
        ("default(hf.gone, 3) + default(hf.window, 4) + default(hf.hidden_size, 0)", 71),
        ("null", None),
        ("hf.tie == false", True),
        ("hf.window == null", True),
        ("'near' in hf.types and kind not in ['near']", True),
        ("'theta' in hf.rope.far", True),
        ("1 == true", False),
        ("2 if hf.window else 3", 3),
        ("-2 ** 2", -4),
        ("'a' < 'b'", True),
        ('"double"', "double"),
        ("not hf.tie and i in [1]", True),
        ("1 if false else 2 if false else 3", 3),
    ],
)
def test_values(text: str, expected: Any) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_only_what_decides_is_read() -> None:
    scope = Names()
    assert evaluate("hf.gone if hf.tie else i", scope) == 1
    assert evaluate("hf.tie and hf.gone", scope) is False
    assert evaluate("has(hf.types) or hf.gone", scope) is True
    assert not any("gone" in name for name in scope.asked)


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("", 0, "ends where a value"),
        ("1 +", 2, "ends where a value"),
        ("(1", 1, "`)`"),
        ("hf.", 2, "a key"),
        ("1 = 2", 2, "`=` stands where"),
        ("'open", 0, "never closed"),
        ("1 < 2 < 3", 6, "do not chain"),
        ("sqr(2)", 0, "is no function"),
        ("min()", 0, "takes 1 to 100"),
        ("default(1)", 0, "takes 2"),
        ("has(1 + 2)", 6, "takes a name"),
        ("1 + hf.gone", 4, "no `gone`"),
        ("2 * 'a'", 4, "takes numbers"),
        ("1 + true", 4, "takes numbers"),
        ("hf.types < 3", 9, "no order"),
        ("1 / (n - 4)", 2, "division by zero"),
        ("9 ** 9 ** 9", 2, "out of bounds"),
        ("not 1", 4, "a condition is true, false or null"),
        ("1 if 'x' else 2", 5, "a condition"),
        ("hf.types[1.5]", 9, "an index"),
        ("1 in 2", 2, "cannot be looked for"),
        ("len(5)", 4, "has no length"),
        ("import os", 7, "stands where an operator"),
        ("a.b()", 3, "stands where"),
        ("__import__('os')", 0, "is no function"),
        ("1 if 2", 5, "`else`"),
    ],
)
def test_faults_say_where(text: str, offset: int, words: str) -> None:
    with pytest.raises(ExpressionFault, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        value(text)
    assert caught.value.offset == offset


def test_a_function_that_is_nearly_spelt_is_suggested() -> None:
    with pytest.raises(ExpressionFault) as caught:
        value("defualt(hf.x, 1)")
    assert caught.value.suggestion == "default"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200 + "1" + ")" * 200,
        "not " * 200 + "true",
        "-" * 200 + "1",
        "+".join(["1"] * 900),
        "x[" * 200 + "1" + "]" * 200,
        "1 if true else " * 200 + "1",
        "[" * 500,
        "'" + "a" * 5000 + "'",
        "2 ** " * 90 + "2",
    ],
)
def test_everything_is_bounded(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ExpressionFault):
        value(text)
    assert time.perf_counter() - start < 1


def test_what_is_just_within_bounds_has_a_value() -> None:
    assert value("+".join(["1"] * (MAX_TOKENS // 2 - 1))) == MAX_TOKENS // 2 - 1
    deep = MAX_DEPTH - 2
    assert value("(" * deep + "1" + ")" * deep) == 1


@given(st.text(alphabet="hfi.[]()'\"+-*/%<>=! 1,andornotifelsenull", max_size=40))
def test_no_text_does_anything_but_mean_or_fault(text: str) -> None:
    fault = None
    try:
        value(text)
    except ExpressionFault as error:
        fault = error
    assert fault is None or 0 <= fault.offset <= len(text)


def test_an_expression_may_end_before_a_brace() -> None:
    found = parse("${hf.x} and more", 2, "}")
    assert found.text == "hf.x"
    assert found.end == 6
    with pytest.raises(ExpressionFault, match="is missing at the end"):
        parse("${hf.x", 2, "}")
