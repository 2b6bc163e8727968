"""Arithmetic in specs means what it means in Python, and nothing else can be said in it."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.arithmetic import FUNCTIONS, ArithmeticFault, parse

NAMES = {"d_model": 512, "head_dim": 64, "model.d_model": 256}


def value(text: str) -> float:
    return parse(text).evaluate(NAMES)


def terms() -> st.SearchStrategy[str]:
    """Expressions of small whole numbers, with every operator in every order and now and then parentheses."""
    leaf = st.integers(0, 9).map(str)
    return st.recursive(
        leaf,
        lambda inner: (
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(" ".join)
            | inner.map(lambda text: f"({text})")
            | inner.map(lambda text: f"-{text}")
        ),
        max_leaves=8,
    )


@given(terms())
def test_an_expression_has_pythons_value(text: str) -> None:
    try:
        said = parse(text).evaluate({})
    except ArithmeticFault:
        # Python must fail too, or leave the bounds: no other reason exists for a well-formed expression.
        if any(part.isdigit() and len(part) > 3 for part in text.split()) or "**" in text:
            return
        with pytest.raises(ZeroDivisionError):
            eval(text)
        return
    assert said == eval(text)
    assert type(said) is type(eval(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqrt(d_model / 2)", 16.0),
        ("ceil(8*d_model/3/64)*64", 1408),
        ("1/sqrt(head_dim)", 0.125),
        ("4 * model.d_model", 1024),
        ("max(1, 2, 3) - min(4, 5)", -1),
        ("floor(2.9) + round(2.4) + int(-2.9) + abs(-1)", 3),
        ("log(exp(2)) + log2(8) + log(9, 3)", 7.0),
        ("1e-4 * 1E4 + .5 + 2.", 3.5),
        ("-2**2", -4),
        ("2**-1", 0.5),
    ],
)
def test_functions_and_names(text: str, expected: float) -> None:
    assert value(text) == pytest.approx(expected)


def test_an_expression_says_which_names_it_reads() -> None:
    assert parse("max(d_model, 4 * model.block.heads) / sqrt(head_dim)").names == {
        "d_model",
        "model.block.heads",
        "head_dim",
    }


@pytest.mark.parametrize(
    ("text", "offset", "word"),
    [
        ("", 0, "ends"),
        ("2 *", 3, "ends"),
        ("(1 + 2", 6, "`)`"),
        ("2 2", 2, "operator"),
        ("4x", 1, "operator"),
        ("1 + $", 4, "`$`"),
        ("1 + sqr(4)", 4, "did you mean `sqrt`"),
        ("sqrt(1, 2)", 0, "1 argument"),
        ("max()", 4, "number"),
        ("__import__('os')", 0, "no function"),
        ("a.__class__", 0, "no value"),
        ("a if b else c", 2, "operator"),
        ("[1]", 0, "`[`"),
        ("d_model < 3", 8, "`<`"),
        ("2 * nothing", 4, "`nothing` has no value"),
        ("1 / (d_model - 512)", 2, "zero"),
        ("1 % 0", 2, "zero"),
        ("0 ** -1", 2, "zero"),
        ("sqrt(-1)", 0, "real"),
        ("(-8) ** 0.5", 5, "real"),
        ("log(0)", 0, "real"),
    ],
)
def test_a_fault_says_where_it_is(text: str, offset: int, word: str) -> None:
    with pytest.raises(ArithmeticFault) as caught:
        value(text)
    assert caught.value.offset == offset
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "9.0**9**9",
        "10**301",
        "1e999",
        "exp(10000)",
        "1e200 * 1e200",
        "(" * 900,
        "-" * 900 + "1",
        "2**" * 300 + "2",
        "1" * 1001,
        "1+" * 600 + "1",
        "9" * 1000,
        "sqrt(" * 190 + "1" + ")" * 190,
    ],
)
def test_what_is_too_large_is_refused_at_once(text: str) -> None:
    before = time.process_time()
    with pytest.raises(ArithmeticFault):
        value(text)
    assert time.process_time() - before < 0.2


def test_a_long_flat_sum_is_no_deep_nesting() -> None:
    assert value("+".join(["1"] * 400)) == 400


@pytest.mark.parametrize("held", [True, "512", None, math.inf, math.nan])
def test_a_name_must_hold_a_finite_number(held: object) -> None:
    with pytest.raises(ArithmeticFault):
        parse("x + 1").evaluate({"x": held})  # type: ignore[dict-item]


@given(st.text(max_size=40))
def test_no_text_does_more_than_parse_or_be_refused(text: str) -> None:
    try:
        result, offset = value(text), 0
    except ArithmeticFault as fault:
        result, offset = 0, fault.offset
    assert math.isfinite(result)
    assert 0 <= offset <= len(text)


def test_every_function_is_a_name_too() -> None:
    assert all(parse(name).names == {name} for name in FUNCTIONS)
