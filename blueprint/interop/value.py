"""What an expression of a family file is once it has been parsed, and what it comes to.

Meaning is Python's, but that a condition is true, false or null and nothing else, and that true is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from blueprint import arithmetic

#: Functions of this grammar alone, with the number of their arguments.
OWN_FUNCTIONS = {"len": 1, "has": 1, "default": 2}
#: Comparisons that ask for an order or equality.
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")


class ExpressionFault(ValueError):
    """An expression that does not parse or has no value; `offset` counts characters from 0 of its text."""

    def __init__(
        self, message: str, offset: int = 0, length: int = 1, *, suggestion: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message)
        self.offset, self.length, self.suggestion, self.fix = offset, length, suggestion, fix


class Missing(LookupError):
    """Raised by a scope for a name without a value."""

    def __init__(self, message: str, suggestion: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.suggestion, self.fix = suggestion, fix


class Scope(Protocol):
    """What gives names their values."""

    def look(self, path: tuple[str | int, ...]) -> Any:
        """The value of a path such as `("hf", "layer_types", 3)`; raises `Missing`."""

    def said(self, path: tuple[str | int, ...]) -> bool:
        """Whether a path has a value of its own, other than null and a default."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true, false or null."""

    offset: int
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name with indices; `text` is how it is written."""

    offset: int
    text: str
    steps: tuple[str | Tree, ...]

    def evaluate(self, scope: Scope) -> Any:
        """The value it names; raises `ExpressionFault`."""
        return _value(self, scope)

    def path(self, scope: Scope) -> tuple[str | int, ...]:
        """Its steps, with indices worked out; raises `ExpressionFault`."""
        return _path(self, scope)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator or a function (`call`) and what it works on."""

    offset: int
    sign: str
    inner: tuple[Tree, ...]
    call: bool = False


Tree = Literal | Name | Operation


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; `end` is where it ended in its text."""

    text: str
    tree: Tree
    end: int

    def names(self) -> Iterator[Name]:
        """Every name that is mentioned, read or not."""
        yield from _names(self.tree)

    def evaluate(self, scope: Scope) -> Any:
        """The value; raises `ExpressionFault`. Of conditions, only what decides is read."""
        return _value(self.tree, scope)


def _names(tree: Tree) -> Iterator[Name]:
    if isinstance(tree, Name):
        yield tree
        for step in tree.steps:
            if not isinstance(step, str):
                yield from _names(step)
    elif isinstance(tree, Operation):
        for inner in tree.inner:
            yield from _names(inner)


def _value(tree: Tree, scope: Scope) -> Any:
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Name):
        path = _path(tree, scope)
        try:
            return scope.look(path)
        except Missing as missing:
            raise ExpressionFault(
                str(missing), tree.offset, len(tree.text), suggestion=missing.suggestion, fix=missing.fix
            ) from None
    special = _SPECIAL.get(tree.sign)
    if special is not None:
        return special(tree, scope)
    return _applied(tree, [_value(inner, scope) for inner in tree.inner])


def _path(name: Name, scope: Scope) -> tuple[str | int, ...]:
    out: list[str | int] = []
    for step in name.steps:
        if isinstance(step, str):
            out.append(step)
            continue
        value = _value(step, scope)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ExpressionFault(f"an index is a whole number or a name, not {said(value)}", step.offset)
        out.append(value)
    return tuple(out)


def truth(value: Any, offset: int = 0) -> bool:
    """A condition's value: true, false, or null, which counts as false; raises `ExpressionFault` for another."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ExpressionFault(
        f"a condition is true, false or null; this is {said(value)}", offset, fix="compare it with something"
    )


def _condition(tree: Tree, scope: Scope) -> bool:
    return truth(_value(tree, scope), tree.offset)


def _choose(tree: Operation, scope: Scope) -> Any:
    then, condition, other = tree.inner
    return _value(then if _condition(condition, scope) else other, scope)


def _both(tree: Operation, scope: Scope) -> bool:
    return all(_condition(inner, scope) for inner in tree.inner)


def _either(tree: Operation, scope: Scope) -> bool:
    return any(_condition(inner, scope) for inner in tree.inner)


def _has(tree: Operation, scope: Scope) -> bool:
    (name,) = tree.inner
    if not isinstance(name, Name):
        raise ExpressionFault("`has` takes a name, such as `hf.head_dim`", name.offset)
    return scope.said(_path(name, scope))


def _default(tree: Operation, scope: Scope) -> Any:
    name, other = tree.inner
    if not isinstance(name, Name):
        raise ExpressionFault("`default` takes a name, such as `hf.head_dim`, and a value", name.offset)
    try:
        value = scope.look(_path(name, scope))
    except Missing:
        value = None
    return _value(other, scope) if value is None else value


def _applied(tree: Operation, values: list[Any]) -> Any:
    sign = tree.sign
    if sign == "[":
        return values
    if sign == "not":
        return not truth(values[0], tree.inner[0].offset)
    if sign in ("==", "!="):
        return same(*values) == (sign == "==")
    if sign in ("in", "not in"):
        return _contains(tree, *values) == (sign == "in")
    if sign in COMPARISONS:
        return _compared(tree, *values)
    if sign == "len":
        if not isinstance(values[0], list | dict | str):
            raise ExpressionFault(f"{said(values[0])} has no length", tree.inner[0].offset)
        return len(values[0])
    for inner, value in zip(tree.inner, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExpressionFault(f"`{sign}` takes numbers, not {said(value)}", inner.offset, _extent(inner))
    try:
        return arithmetic.apply(sign, values, call=tree.call)
    except arithmetic.ArithmeticFault as fault:
        raise ExpressionFault(str(fault), tree.offset, len(sign)) from None


def _contains(tree: Operation, item: Any, whole: Any) -> bool:
    if isinstance(whole, list):
        return any(same(item, each) for each in whole)
    if isinstance(whole, dict | str) and isinstance(item, str):
        return item in whole
    raise ExpressionFault(f"{said(item)} cannot be looked for in {said(whole)}", tree.offset, len(tree.sign))


def _compared(tree: Operation, left: Any, right: Any) -> bool:
    number = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
    if not number and not (isinstance(left, str) and isinstance(right, str)):
        raise ExpressionFault(f"{said(left)} and {said(right)} have no order", tree.offset, len(tree.sign))
    below = bool(left < right)
    if tree.sign in ("<", ">="):
        return below == (tree.sign == "<")
    return bool(left > right) == (tree.sign == ">")


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal; unlike Python's, true is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def said(value: Any) -> str:
    """A value as a diagnosis names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"`{value if len(value) <= 60 else value[:57] + '…'}`"
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'map'} of {len(value)}"
    return f"{value}"


def _extent(tree: Tree) -> int:
    return len(tree.text) if isinstance(tree, Name) else 1


#: What decides for itself which of its parts are read.
_SPECIAL: dict[str, Callable[[Operation, Scope], Any]] = {
    "if": _choose,
    "and": _both,
    "or": _either,
    "has": _has,
    "default": _default,
}
