"""Specs drawn by lot from the schema itself, whatever components there are: for finding what nobody thought of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from blueprint.component import Component, Section
from blueprint.registry import member
from blueprint.schema.json_leaf import EXPRESSION, INTERPOLATION, leaf
from blueprint.schema.layers import Depth
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec
from blueprint.testing.mended import class_of, copied
from blueprint.testing.tiny import stacks, tiny

#: Sections that no model is without, or that say nothing of it.
ELSEWHERE = ("blueprint", "model", "name", "description")
#: Those of a run: they name files and machines, and are read and planned with the rest.
RUN = ("data", "tokenizer", "start", "sample", "writing", "checkpoint", "compile", "trainer")

WHOLE = (1, 2, 4, 8, 3, 16, 5, 0, 24)
REAL = (0.5, 1.0, 0.1, 2.0, 0.0, 0.9, 1e-5, -1.0)
TEXTS = ("block", "other", "embedding", "layers.0", "**.norm")
EXPRESSIONS = ("d_model", "2 * d_model", "sqrt(d_model)", "d_model / 2")
KEYS = ("other", "0", "-1")
#: Other sizes of a stack than the smallest; those that are too large to run are planned and counted.
SIZES: tuple[Mapping[str, int], ...] = (
    {"layers": 1},
    {"layers": 3},
    {"d_model": 48},
    {"max_length": 4096},
    {"layers": 5, "d_model": 16},
    {"vocab_size": 130_000},
    {"d_model": 2048},
    {"layers": 24},
    {"max_length": 131_072, "d_model": 512},
    {"d_model": 8192, "layers": 16, "vocab_size": 128_256},
)


class Lot(Protocol):
    """What decides: hypothesis, or a seeded generator."""

    def among(self, options: Sequence[Any]) -> Any:
        """One of the options; earlier ones are simpler."""

    def chance(self, of: float) -> bool:
        """True so often."""

    def names(self, kind: str) -> Sequence[str]:
        """The members of a kind that may be drawn."""


def drawn(lot: Lot) -> dict[str, Any]:
    """A spec as plain values: of any type of model and any size, most often a valid one; what it names is there."""
    said = tiny("model", lot.among(lot.names("model")))
    model = said["model"]
    for path in stacks(said):
        if lot.chance(0.5):
            _size(said, path, lot.among(SIZES))
    _change(lot, member("model", model["type"]), model, 0.12)
    for path in stacks(said):
        _vary(lot, said, path)
    for key, shape in fields(Spec).items():
        if key not in ELSEWHERE and lot.chance(0.06 if key in RUN else 0.12):
            said[key] = _value(lot, shape, 0.2 if key in RUN else 0.3)
    return said


def _size(said: dict[str, Any], path: str, sizes: Mapping[str, int]) -> None:
    """Another size of the stack at a path, as far as it says its own."""
    node = _there(said, path)
    node.update({key: size for key, size in sizes.items() if key in node})


def _there(said: Any, path: str) -> Any:
    for step in path.split("."):
        said = said[step]
    return said


def _vary(lot: Lot, said: dict[str, Any], path: str) -> None:
    """Layers that differ: a variant and where it stands, changes to one of them, and weights that are shared."""
    node = _there(said, path)
    shape = fields(Depth)["block"]
    layers = node.get("layers")
    if not isinstance(node, dict) or not isinstance(layers, int):
        return

    def changed() -> dict[str, Any]:
        block = node.get("block")
        cls = class_of(shape, block)
        made: dict[str, Any] = {}
        if cls is not None:
            for _ in range(3):
                _change(lot, cls, made, 0.12)
        return made

    if lot.chance(0.2):
        node["blocks"] = {"other": changed()}
        node["pattern"] = lot.among((["block", "other"], ["other"], ["other", "block", "block"]))
    if lot.chance(0.15):
        node["overrides"] = {lot.among(("-1", "0")): changed()}
    if lot.chance(0.1):
        node["share"] = [index // 2 for index in range(layers)]


def _change(lot: Lot, cls: type[Section], node: dict[str, Any], often: float) -> None:
    """Say something else of a section, here and there, at every depth."""
    for key, shape in fields(cls).items():
        if lot.chance(often):
            node[key] = _value(lot, shape, often)
            continue
        inner = node.get(key)
        own = class_of(shape, inner)
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
    node = {"type": name, **copied(lot.among(cls.examples()))}
    _change(lot, cls, node, often / 2)
    return node if len(node) > 1 or lot.chance(0.5) else name


def _field(cls: type[Section], key: str) -> str:
    return next(name for name, info in cls.model_fields.items() if (info.alias or name) == key)


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
