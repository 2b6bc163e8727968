"""The operator on named axes against arithmetic on indices, both ways, and what it refuses."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.interop.pattern import Axis, Name, Pattern, Product, RearrangeFault, Rearrangement, Sum, parse, written
from blueprint.interop.rearrange import apply, shape, solve


def places(axis: Axis, sizes: dict[str, int]) -> list[dict[str, int]]:
    """For every index along an axis, in order, the index of every name it stands for."""
    if isinstance(axis, Name):
        return [{axis.text: n} for n in range(sizes[axis.text])]
    terms = [places(term, sizes) for term in axis.terms]
    if isinstance(axis, Sum):
        return [place for term in terms for place in term]
    return [{k: v for place in each for k, v in place.items()} for each in itertools.product(*terms)]


def elements(pattern: Pattern, sizes: dict[str, int]) -> dict[frozenset[tuple[str, int]], tuple[int, ...]]:
    """Where in a tensor each element lies, by the indices of its names."""
    out = {}
    for steps in itertools.product(*(list(enumerate(places(axis, sizes))) for axis in pattern)):
        key = frozenset((name, n) for _, place in steps for name, n in place.items())
        out[key] = tuple(n for n, _ in steps)
    return out


@st.composite
def operators(draw: st.DrawFn) -> tuple[Rearrangement, dict[str, int]]:
    """A random operator: random patterns on the left, its parts in random order and grouping on the right."""
    seed = random.Random(draw(st.integers(0, 1 << 30)))
    names = iter("abcdefghijklmnopqrstuvwxyz")
    sizes: dict[str, int] = {}

    def axis(depth: int) -> str:
        kind = seed.choice(["name", "name", "one", "product", "sum"] if depth else ["name", "one"])
        if kind == "one":
            return "1"
        if kind == "name":
            name = next(names)
            sizes[name] = seed.randint(1, 3)
            return name
        terms = [axis(depth - 1) for _ in range(seed.randint(2, 3))]
        if kind == "sum":
            # A name in every term, that they may be told apart.
            terms = [f"{term} {axis(0)} {fresh()}" for term in terms[:2]]
        return f"({(' + ' if kind == 'sum' else ' ').join(terms)})"

    def fresh() -> str:
        name = next(names)
        sizes[name] = seed.randint(1, 3)
        return name

    left = [" ".join([fresh(), *(axis(1) for _ in range(seed.randint(0, 2)))]) for _ in range(seed.randint(1, 2))]
    whole = parse(f"{', '.join(left)} -> {', '.join(left)}")
    parts = [list(part) for pattern in whole.left for part in names_of(pattern)]
    right = []
    for part in seed.sample(parts, len(parts)):
        order = seed.sample(part, len(part))
        cut = seed.randint(0, len(order))
        right.append(
            " ".join(
                filter(
                    None,
                    [
                        f"({' '.join(order[:cut])})" if cut > 1 else " ".join(order[:cut]),
                        seed.choice(["", "1"]),
                        " ".join(order[cut:]),
                    ],
                )
            )
        )
    if len(right) > 1 and seed.random() < 0.5:
        # All in one tensor: flat parts one after the other.
        flat = [f"{' '.join(each.replace('(', '').replace(')', '').split())}" for each in right]
        right = [f"({' + '.join(flat)})"]
    return parse(f"{', '.join(left)} -> {', '.join(right)}"), sizes


def names_of(pattern: Pattern) -> list[list[str]]:
    """The parts of a pattern, found by walking it anew."""

    def branches(axis: Axis) -> list[list[str]]:
        if isinstance(axis, Name):
            return [[axis.text]]
        if isinstance(axis, Sum):
            return [branch for term in axis.terms for branch in branches(term)]
        return [[n for branch in each for n in branch] for each in itertools.product(*map(branches, axis.terms))]

    return [[n for branch in each for n in branch] for each in itertools.product(*map(branches, pattern))]


@settings(max_examples=150, deadline=None)
@given(operators())
def test_every_element_goes_where_its_indices_say_and_comes_back(case: tuple[Rearrangement, dict[str, int]]) -> None:
    rearrangement, sizes = case
    arrays, start = [], 0
    for pattern in rearrangement.left:
        size = math.prod(shape(pattern, sizes))
        arrays.append(np.arange(start, start + size, dtype=np.int64).reshape(shape(pattern, sizes)))
        start += size
    there = apply(rearrangement, arrays, sizes)
    value = {
        key: array[place]
        for pattern, array in zip(rearrangement.left, arrays, strict=True)
        for key, place in elements(pattern, sizes).items()
    }
    assert sum(array.size for array in there) == start == len(value)
    for pattern, array in zip(rearrangement.right, there, strict=True):
        for key, place in elements(pattern, sizes).items():
            assert array[place] == value[key], written(pattern)
    back = apply(rearrangement, there, sizes, back=True)
    for one, other in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=100, deadline=None)
@given(operators())
def test_sizes_that_were_found_are_the_sizes(case: tuple[Rearrangement, dict[str, int]]) -> None:
    """With shapes of both sides and half of the sizes said, what is found is true."""
    rearrangement, drawn = case
    sizes = {name: size for name, size in drawn.items() if name in rearrangement.names}
    shapes = [[shape(pattern, sizes) for pattern in side] for side in (rearrangement.left, rearrangement.right)]
    assert solve(rearrangement, *shapes, sizes) == sizes
    for said in ({}, dict(list(sizes.items())[::2])):
        with contextlib.suppress(RearrangeFault):
            assert solve(rearrangement, *shapes, said) == sizes


X = np.arange(24, dtype=np.uint16)


@pytest.mark.parametrize(
    ("text", "sizes", "theirs", "ours"),
    [
        ("a b -> b a", {}, [X.reshape(4, 6)], [X.reshape(4, 6).T]),
        ("(g + u) m -> g m, u m", {"g": 3}, [X.reshape(6, 4)], [X[:12].reshape(3, 4), X[12:].reshape(3, 4)]),
        (
            "(h (q + k + v) d) -> (h q d), (h k d), (h v d)",
            {"h": 2, "q": 1, "k": 1, "v": 1},
            [X],
            [X.reshape(2, 3, 4)[:, n].reshape(-1) for n in range(3)],
        ),
        (
            "(g (q + k + v) d) -> (g q d), (g k d), (g v d)",
            {"g": 2, "q": 4, "k": 1, "v": 1, "d": 2},
            [X],
            [X.reshape(2, 6, 2)[:, s].reshape(-1) for s in (slice(0, 4), slice(4, 5), slice(5, 6))],
        ),
        ("(i (g + u)) m -> (i g) m, (i u) m", {"g": 1, "u": 1}, [X.reshape(6, 4)],
         [X.reshape(6, 4)[0::2], X.reshape(6, 4)[1::2]]),
        ("(h two d) m -> (h d two) m", {"two": 2, "h": 2}, [X.reshape(12, 2)],
         [X.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(12, 2)]),
        ("d c p q -> d (c p q)", {}, [X.reshape(2, 3, 2, 2)], [X.reshape(2, 12)]),
        ("1 n d -> n d", {}, [X.reshape(1, 4, 6)], [X.reshape(4, 6)]),
        ("n -> 1 1 n", {}, [X], [X.reshape(1, 1, 24)]),
        ("() -> 1", {}, [X[:1].reshape(())], [X[:1]]),
        ("(1 + n) d -> d, n d", {}, [X.reshape(6, 4)], [X[:4], X[4:].reshape(5, 4)]),
    ],
)  # fmt: skip
def test_what_checkpoints_need(text: str, sizes: dict[str, int], theirs: Any, ours: Any) -> None:
    rearrangement = parse(text)
    known = solve(rearrangement, [x.shape for x in theirs], [x.shape for x in ours], sizes)
    for found, wanted in zip(apply(rearrangement, theirs, known), ours, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(apply(rearrangement, ours, known, back=True), theirs, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.shape == wanted.shape


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("a b", "a b", "one `->`"),
        ("a -> b -> c", "a -> b -> c", "one `->`"),
        ("a b -> b", "a", "`a` stands on the left alone"),
        ("a -> a b", "b", "`b` stands on the right alone"),
        ("a a -> a", "a ->", "`a` stands twice"),
        ("(q + k) m -> q m k", "q + k", "has no counterpart"),
        ("a b, b a -> a b", "b a ->", "two parts of one side"),
        ("(a + b -> a, b", "->", "`->` stands where `)` is expected"),
        ("a 2 -> a", "2", "no part of an operator"),
        ("a * b -> a b", "*", "no part of an operator"),
        (", a -> a", ", a", "`,` stands where an axis"),
        ("a -> ", "", "ends where an axis"),
        ("a -> a )", ")", "stands where the end is expected"),
        ("a () -> a", ")", "stands where an axis"),
        ("(" * 30 + "a" + ")" * 30 + " -> a", "", "nests at most"),
        (" ".join(f"(a{n} + b{n})" for n in range(40)) + " -> a", "", "at most 1000 parts"),
    ],
)
def test_faults_say_where_they_are(text: str, at: str, said: str) -> None:
    with pytest.raises(RearrangeFault) as caught:
        parse(text)
    assert said in str(caught.value)
    assert not at or text[caught.value.offset :].lstrip().startswith(at.strip()), (
        caught.value.offset,
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("text", "left", "right", "sizes", "said"),
    [
        ("a b -> b a", (2, 3, 4), (3, 2), {}, "has 2 axes, the tensor 3"),
        ("a b -> b a", (2, 3), (2, 3), {}, "`b` is 3 by its names, and 2 in the tensor"),
        ("(h d) -> h d", (10,), None, {"h": 4}, "which 4 does not fit"),
        ("(h d) -> (d h)", (10,), (10,), {}, "`d`, `h` does not follow"),
    ],
)
def test_shapes_that_do_not_fit(text: str, left: Any, right: Any, sizes: dict[str, int], said: str) -> None:
    with pytest.raises(RearrangeFault) as caught:
        solve(parse(text), [left], [right], sizes)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["a b c -> c a b", "a b c -> b a c", "(a b) c -> c (b a)", "a b c -> c b a"])
def test_large_tensors_are_copied_whole(text: str) -> None:
    """Tiles meet at their edges."""
    sizes = {"a": 3, "b": 300, "c": 520}
    rearrangement = parse(text)
    array = np.arange(3 * 300 * 520, dtype=np.uint32).reshape(shape(rearrangement.left[0], sizes))
    (there,) = apply(rearrangement, [array], sizes)
    axes = text.partition("->")[2].replace("(", "").replace(")", "").split()
    wanted = array.reshape(3, 300, 520).transpose(["abc".index(name) for name in axes]).reshape(there.shape)
    np.testing.assert_array_equal(there, wanted)
    np.testing.assert_array_equal(apply(rearrangement, [there], sizes, back=True)[0], array)


def test_text_reads_back() -> None:
    for text in ("(h (q + k + v) d) m", "(a b + c) 1", "(1 + n) d", "()"):
        assert written(parse(f"{text} -> {text}").left[0]) == text
    assert isinstance(parse("1 a -> a").left[0][0], Product)
