"""A spec without its mistakes: what was drawn amiss is taken away, and what is missing put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blueprint.component import Component, Section
from blueprint.diagnosis import Problem
from blueprint.registry import member, names
from blueprint.schema.json_schema import required
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec
from blueprint.testing.tiny import TINY


def copied(value: Any) -> Any:
    """Plain values, none of them shared."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def class_of(shape: Shape, node: Any) -> type[Section] | None:
    """The section or component that a place holds."""
    if shape.form == "slot" and isinstance(node, dict) and "type" in node:
        return member(shape.kind, node["type"])
    return shape.member_of(None) if shape.form in ("slot", "section") and not isinstance(node, str) else None


def mended(said: Mapping[str, Any], problems: Sequence[Problem]) -> dict[str, Any]:
    """The spec without what its diagnosis finds fault with, and with an example of what is missing."""
    out: dict[str, Any] = copied(said)
    for problem in problems:
        _mend(out, problem)
    return out


def _mend(node: Any, problem: Problem) -> None:
    """Take away what stands at a problem's place, or put there what is missing."""
    cls: type[Section] | None = Spec
    item: Shape | None = None
    *steps, last = problem.path
    for step in steps:
        shape = item if cls is None else fields(cls).get(step)
        if shape is None:
            return
        inner = _at(node, step)
        own = member(shape.kind, inner) if isinstance(inner, str) and shape.form == "slot" else class_of(shape, inner)
        if not isinstance(inner, dict | list):
            if own is None:
                last = step
                break
            # A part that stands there by its default, or by its name alone, says now what it needs.
            inner = {"type": own.spec_name} if issubclass(own, Component) else {}
            if not _put(node, step, inner):
                return
        cls = None if isinstance(inner, list) else own
        item = shape if isinstance(inner, list) and shape.many else shape.item
        node = inner
    if _at(node, last) is not None:
        del node[int(last) if isinstance(node, list) else last]
    elif cls is not None and isinstance(node, dict):
        _supply(node, last, cls)


def _supply(node: dict[str, Any], key: str, cls: type[Section]) -> None:
    """Put what is missing under a key: the size of a small model, an example's value, or a part that does nothing."""
    shape = fields(cls).get(key)
    if key in TINY:
        node[key] = TINY[key]
    elif shape is not None and shape.form == "slot" and key not in required(cls):
        if "none" in names(shape.kind):
            node[key] = "none"
    elif issubclass(cls, Component):
        node[key] = copied(cls.examples()[0].get(key, 4))


def _at(node: Any, step: str) -> Any:
    if isinstance(node, list):
        return node[int(step)] if step.isdigit() and int(step) < len(node) else None
    return node.get(step) if isinstance(node, dict) else None


def _put(node: Any, step: str, value: Any) -> bool:
    if isinstance(node, list) and step.isdigit() and int(step) < len(node):
        node[int(step)] = value
    elif isinstance(node, dict):
        node[step] = value
    else:
        return False
    return True
