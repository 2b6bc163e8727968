"""The one operator between tensors of two checkpoints: named axes, rearranged bijectively.

`(h (q + k + v) d) m -> (h q d) m, (h k d) m, (h v d) m`: a pattern a tensor, an axis of it a name, `1`, a product
`(h d)` (the last runs fastest) or a sum `(q + k)` (one after the other). A choice of one term in every sum leaves a
plain list of names, a *part*; the parts of the left and of the right are the same, whatever their order, so that the
same words say the way there and the way back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

MAX_LENGTH = 1000
MAX_DEPTH = 20
MAX_PARTS = 1000


class RearrangeFault(ValueError):
    """An operator that cannot be read, or does not fit its tensors; it lies `offset` characters into the text."""

    def __init__(self, message: str, offset: int = 0, length: int = 1) -> None:
        super().__init__(message)
        self.offset, self.length = offset, length


@dataclass(frozen=True, slots=True)
class Name:
    """An axis with a name."""

    text: str
    offset: int = 0

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Product:
    """Axes in one, the last running fastest; none at all is the axis `1`."""

    terms: tuple[Axis, ...]
    offset: int = 0

    def __str__(self) -> str:
        return f"({' '.join(map(str, self.terms))})" if self.terms else "1"


@dataclass(frozen=True, slots=True)
class Sum:
    """Axes one after the other."""

    terms: tuple[Axis, ...]
    offset: int = 0

    def __str__(self) -> str:
        return f"({' + '.join(str(t).strip('()') if isinstance(t, Product) else str(t) for t in self.terms)})"


Axis = Name | Product | Sum
Pattern = tuple[Axis, ...]
Part = frozenset[str]


@dataclass(frozen=True)
class Rearrangement:
    """Patterns of the tensors on either side, whose parts are the same."""

    left: tuple[Pattern, ...]
    right: tuple[Pattern, ...]

    @property
    def names(self) -> frozenset[str]:
        """Every axis that has a name."""
        return frozenset(name.text for pattern in self.left for part in _choices(pattern) for name in part)


@lru_cache(maxsize=1024)
def parse(text: str) -> Rearrangement:
    """Read an operator; raises `RearrangeFault` for what cannot stand there or has no counterpart on the other side."""
    if len(text) > MAX_LENGTH:
        raise RearrangeFault(f"an operator has at most {MAX_LENGTH} characters, this one {len(text)}")
    if text.count("->") != 1:
        raise RearrangeFault("an operator has one `->`, with theirs on the left and ours on the right", 0, len(text))
    reader = _Reader(text)
    left, right = reader.patterns("->"), reader.patterns("")
    ours, theirs = _parts(right), _parts(left)
    ways = ((theirs, ours, "left", "right"), (ours, theirs, "right", "left"))
    for some, others, side, _ in ways:
        there = {name for part in others for name in part}
        for name in (name for names in some.values() for name in names):
            if name.text not in there:
                message = f"`{name.text}` stands on the {side} alone: every axis is on both sides"
                raise RearrangeFault(message, name.offset, len(name.text))
    for some, others, side, other in ways:
        for part, names in some.items():
            if part not in others:
                named, offset = " ".join(map(str, names)), names[0].offset if names else 0
                raise RearrangeFault(f"the part `{named}` on the {side} has no counterpart on the {other}", offset)
    return Rearrangement(left, right)


def written(pattern: Pattern) -> str:
    """A pattern as a person writes it."""
    return " ".join(map(str, pattern)) if pattern else "()"


def extent(pattern: Pattern) -> tuple[int, int]:
    """Where a pattern stands: its offset and its length."""
    return (pattern[0].offset, len(written(pattern))) if pattern else (0, 1)


def _choices(pattern: Pattern) -> list[tuple[Name, ...]]:
    """Every choice of one term in each sum, as the names that are left."""
    return [sum(each, ()) for each in product(*map(_branches, pattern))]


def _count(axis: Axis) -> int:
    if isinstance(axis, Name):
        return 1
    return (prod if isinstance(axis, Product) else sum)(map(_count, axis.terms))


def _branches(axis: Axis) -> list[tuple[Name, ...]]:
    if isinstance(axis, Name):
        return [(axis,)]
    if isinstance(axis, Product):
        return _choices(axis.terms)
    return [branch for term in axis.terms for branch in _branches(term)]


def _parts(patterns: Sequence[Pattern]) -> dict[Part, tuple[Name, ...]]:
    """The parts of one side; raises `RearrangeFault` for a name twice in one, and for two that are the same."""
    found: dict[Part, tuple[Name, ...]] = {}
    # Counted before they are made: a short text can say very many.
    if sum(prod(map(_count, pattern)) for pattern in patterns) > MAX_PARTS:
        raise RearrangeFault(f"an operator has at most {MAX_PARTS} parts")
    for pattern in patterns:
        for names in _choices(pattern):
            seen: set[str] = set()
            for name in names:
                if name.text in seen:
                    message = f"`{name}` stands twice in one tensor: every axis has a name of its own"
                    raise RearrangeFault(message, name.offset, len(name.text))
                seen.add(name.text)
            if frozenset(seen) in found:
                said, offset = " ".join(map(str, names)) or "1", names[0].offset if names else 0
                raise RearrangeFault(f"two parts of one side are `{said}`: give them names of their own", offset)
            found[frozenset(seen)] = names
    return found


_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<sign>->|[(),+]|1(?!\w)))", re.ASCII)


class _Reader:
    """Reads patterns from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.next = text, 0
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.next)
        if found is not None:
            self.token, self.is_name = found[found.lastgroup or 0], found.lastgroup == "name"
            self.offset, self.next = found.start(found.lastgroup or 0), found.end()
            return
        rest = self.text[self.next :].lstrip()
        self.offset, self.token, self.is_name = len(self.text) - len(rest), "", False
        if rest:
            fix = " (a size has a name, and its number stands under `sizes`)" if rest[0].isdigit() else ""
            raise RearrangeFault(f"`{rest[0]}` is no part of an operator{fix}", self.offset)

    def patterns(self, end: str) -> tuple[Pattern, ...]:
        out = [self.pattern()]
        while self.token == ",":
            self.advance()
            out.append(self.pattern())
        if self.token != end:
            raise self.unexpected(f"`{end}`" if end else "the end")
        if end:
            self.advance()
        return tuple(out)

    def pattern(self) -> Pattern:
        if re.match(r"\(\s*\)", self.text[self.offset :]):
            self.advance()
            self.advance()
            return ()
        return self.axes(0)

    def axes(self, depth: int) -> Pattern:
        if depth > MAX_DEPTH:
            raise RearrangeFault(f"an operator nests at most {MAX_DEPTH} deep", self.offset)
        out: list[Axis] = []
        while self.is_name or self.token in ("1", "("):
            out.append(self.axis(depth))
        if not out:
            raise self.unexpected("an axis (a name, `1` or `(`)")
        return tuple(out)

    def axis(self, depth: int) -> Axis:
        token, offset, is_name = self.token, self.offset, self.is_name
        self.advance()
        if is_name:
            return Name(token, offset)
        if token == "1":
            return Product((), offset)
        terms = [self.axes(depth + 1)]
        while self.token == "+":
            self.advance()
            terms.append(self.axes(depth + 1))
        if self.token != ")":
            raise self.unexpected("`)`")
        self.advance()
        if len(terms) == 1:
            return terms[0][0] if len(terms[0]) == 1 else Product(terms[0], offset)
        return Sum(tuple(each[0] if len(each) == 1 else Product(each, each[0].offset) for each in terms), offset)

    def unexpected(self, wanted: str) -> RearrangeFault:
        if not self.token:
            return RearrangeFault(f"the operator ends where {wanted} is expected", max(0, len(self.text) - 1))
        return RearrangeFault(f"`{self.token}` stands where {wanted} is expected", self.offset, len(self.token))
