"""Specs drawn by lot from the schema itself, whatever components there are: for finding what nobody thought of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from blueprint.component import Component, Section
from blueprint.diagnosis import Problem
from blueprint.registry import member
from blueprint.schema.json_leaf import EXPRESSION, INTERPOLATION, leaf
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec
from blueprint.testing.tiny import tiny

#: Sections of a spec that name files or machines, or that a step of training does not need.
ELSEWHERE = ("data", "tokenizer", "start", "sample", "checkpoint", "compile", "trainer", "blueprint")

WHOLE = (1, 2, 4, 8, 3, 16, 5, 0, 24)
REAL = (0.5, 1.0, 0.1, 2.0, 0.0, 0.9, 1e-5, -1.0)
TEXTS = ("block", "other", "embedding", "layers.0", "**.norm")
EXPRESSIONS = ("d_model", "2 * d_model", "sqrt(d_model)", "d_model / 2")
KEYS = ("other", "0", "-1")


class Lot(Protocol):
    """What decides: hypothesis, or a seeded generator."""

    def among(self, options: Sequence[Any]) -> Any:
        """One of the options; earlier ones are simpler."""

    def chance(self, of: float) -> bool:
        """True so often."""

    def names(self, kind: str) -> Sequence[str]:
        """The members of a kind that may be drawn."""


def drawn(lot: Lot) -> dict[str, Any]:
    """A spec as plain values: small, of any type of model, most often a valid one; what it names is there."""
    said = tiny("model", lot.among(lot.names("model")))
    model = said["model"]
    _change(lot, member("model", model["type"]), model, 0.12)
    for key, shape in fields(Spec).items():
        if key not in (*ELSEWHERE, "model", "name", "description", "sample") and lot.chance(0.12):
            said[key] = _value(lot, shape, 0.3)
    return said


def _change(lot: Lot, cls: type[Section], node: dict[str, Any], often: float) -> None:
    """Say something else of a section, here and there, at every depth."""
    for key, shape in fields(cls).items():
        if lot.chance(often):
            node[key] = _value(lot, shape, often)
            continue
        inner = node.get(key)
        own = _class_of(shape, inner)
        if own is None or shape.many:
            continue
        if isinstance(inner, dict):
            _change(lot, own, inner, often)
        elif inner is None and not shape.optional and lot.chance(0.5):
            # What is not said is said now, so that its own keys may be.
            made: dict[str, Any] = {"type": own.spec_name} if issubclass(own, Component) else {}
            _change(lot, own, made, often)
            if len(made) > 1:
                node[key] = made


def _class_of(shape: Shape, node: Any) -> type[Section] | None:
    if shape.form == "slot" and isinstance(node, dict) and "type" in node:
        return member(shape.kind, node["type"])
    return shape.member_of(None) if shape.form in ("slot", "section") and not isinstance(node, str) else None


def _value(lot: Lot, shape: Shape, often: float) -> Any:
    """Anything that may stand at a place, and some things that may not."""
    if shape.optional and lot.chance(0.2):
        return None
    if shape.form == "slot":
        if shape.many and lot.chance(0.3):
            return [_member(lot, shape, often) for _ in range(lot.among((1, 2)))]
        return _member(lot, shape, often)
    if shape.form == "section":
        assert shape.cls is not None
        node: dict[str, Any] = {}
        for key, inner in fields(shape.cls).items():
            if shape.cls.model_fields[_field(shape.cls, key)].is_required() or lot.chance(often):
                node[key] = _value(lot, inner, often / 2)
        return node
    if shape.form in ("list", "map"):
        assert shape.item is not None
        many = range(lot.among((1, 2, 0)))
        if shape.form == "list":
            return [_value(lot, shape.item, often) for _ in many]
        return {lot.among(KEYS): _value(lot, shape.item, often) for _ in many}
    return _leaf(lot, leaf(shape.annotation))


def _member(lot: Lot, shape: Shape, often: float) -> Any:
    name = lot.among(lot.names(shape.kind))
    cls = member(shape.kind, name)
    node = {"type": name, **_copy(lot.among(cls.examples()))}
    _change(lot, cls, node, often / 2)
    return node if len(node) > 1 or lot.chance(0.5) else name


def _field(cls: type[Section], key: str) -> str:
    return next(name for name, info in cls.model_fields.items() if (info.alias or name) == key)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _leaf(lot: Lot, schema: Mapping[str, Any]) -> Any:
    options = [each for each in schema.get("anyOf", [schema]) if each != INTERPOLATION]
    chosen = lot.among(options) if options else {}
    if chosen == EXPRESSION:
        return lot.among(EXPRESSIONS)
    if "enum" in chosen:
        return lot.among(chosen["enum"])
    if "const" in chosen:
        return chosen["const"]
    if "anyOf" in chosen:
        return _leaf(lot, chosen)
    form = chosen.get("type", "string")
    if form == "array":
        few = range(max(chosen.get("minItems", 0), lot.among((1, 2, 3))))
        return [_leaf(lot, chosen.get("items", {})) for _ in few]
    if form == "object":
        inner = chosen.get("additionalProperties")
        return {lot.among(KEYS): _leaf(lot, inner)} if isinstance(inner, dict) else {}
    values: dict[str, Sequence[Any]] = {"boolean": (True, False), "integer": WHOLE, "number": REAL, "null": (None,)}
    found = values.get(form, TEXTS)
    if form in ("integer", "number") and not lot.chance(0.05):
        found = [each for each in found if _within(each, chosen)] or found
    return lot.among(found)


def _within(value: float, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    above, below = schema.get("exclusiveMinimum", value - 1), schema.get("exclusiveMaximum", value + 1)
    return bool(low <= value <= high and above < value < below)


def mended(said: Mapping[str, Any], problems: Sequence[Problem]) -> dict[str, Any]:
    """The spec without what its diagnosis finds fault with, and with an example of what is missing."""
    out: dict[str, Any] = _copy(said)
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
        own = member(shape.kind, inner) if isinstance(inner, str) and shape.form == "slot" else _class_of(shape, inner)
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
    elif cls is not None and issubclass(cls, Component) and isinstance(node, dict):
        node[last] = _copy(cls.examples()[0].get(last, 4))


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
