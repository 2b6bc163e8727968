"""What a field expects, in words; and what stands there instead."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from blueprint.component import Evaluated
from blueprint.formula import Formed
from blueprint.tree import Map, Node, Scalar, Seq

_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "null"}
_BOUNDS = (("gt", "greater than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most"))


def expectation(annotation: Any) -> str:
    """What may stand where `annotation` does: `a positive whole number`, `one of pre, post`."""
    if get_origin(annotation) is Annotated:
        base, *marks = (part for part in get_args(annotation) if not isinstance(part, Formed))
        if any(isinstance(mark, Evaluated) and mark.whole for mark in marks):
            return "a positive whole number or an expression such as `4 * d_model`"
        if any(isinstance(mark, Evaluated) and mark.counts for mark in marks):
            return "a number but 0 or an expression such as `sqrt(d_model)`"
        if any(isinstance(mark, Evaluated) for mark in marks):
            return "a number or an expression such as `sqrt(d_model)`"
        return _bounded(expectation(base), marks)
    if get_origin(annotation) is Literal:
        words = ["null" if value is None else f"{value}" for value in get_args(annotation)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if get_origin(annotation) in (Union, types.UnionType):
        parts = list(dict.fromkeys(expectation(part) for part in get_args(annotation)))
        return " or ".join(parts)
    if get_origin(annotation) in (list, tuple):
        inner = [part for part in get_args(annotation) if part is not Ellipsis]
        return f"a list, each {expectation(inner[0])}" if inner else "a list"
    if get_origin(annotation) is dict:
        return f"a map to {expectation(get_args(annotation)[1])}"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bounded(base: str, marks: list[Any]) -> str:
    bounds: dict[str, Any] = {}
    for mark in marks:
        for each in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
            bounds |= {name: value for name, _ in _BOUNDS if (value := getattr(each, name, None)) is not None}
    if bounds == {"gt": 0}:
        return base.replace("a ", "a positive ", 1)
    said = [f"{words} {bounds[name]}" for name, words in _BOUNDS if name in bounds]
    return f"{base} {' and '.join(said)}" if said else base


def choices(annotation: Any) -> list[str]:
    """The words an annotation admits (the strings of its `Literal`s)."""
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    return [word for part in get_args(annotation) if not isinstance(part, str) for word in choices(part)]


def described(node: Node) -> str:
    """What stands at a node, in words: `the string "8"`, `a list`."""
    if isinstance(node, Map):
        return "a map"
    if isinstance(node, Seq):
        return "a list"
    return scalar(node)


def scalar(node: Scalar) -> str:
    """A scalar as its author would recognise it."""
    value = node.value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 40 else value[:37] + "..."}"'
    return f"{value}"
