"""The JSON Schema (2020-12) of everything that is registered, for editors and standard validators.

Every section and component is a definition; a slot admits the names of its kind's members, and a map as the member
that its `type` names.
Definitions come twice: whole, and `partial`, in which nothing is required, for what is merged over something else.
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic.fields import FieldInfo

from blueprint.component import KINDS, Component, Section
from blueprint.describe import descriptions
from blueprint.registry import members
from blueprint.schema.json_leaf import INTERPOLATION, INTERPOLATION_TEXT, Json, any_of, leaf
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec
from blueprint.section import WHOLE

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Keys of a file that are gone once it has been read.
FILE_KEYS: dict[str, Json] = {
    "extends": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        "description": "The spec, or specs from left to right, that this one is merged over.",
    },
    "plugins": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files (`./mine.py`) and modules (`acme.attention`) whose components this spec uses; "
        "they are loaded only with --allow-plugins.",
    },
}

_NULL: Json = {"type": "null"}
_MAP: Json = {"type": "object"}


def json_schema() -> Json:
    """The schema of a spec file, with every component registered so far."""
    writer = _Writer()
    whole, partial = writer.section(Spec, False), writer.section(Spec, True)
    return {
        "$schema": DIALECT,
        "title": "Blueprint spec",
        "description": "A model as data: what it is, what it learns from, and how it is trained.",
        "type": "object",
        # A file that extends another need not be whole by itself.
        "if": {"required": ["extends"]},
        "then": partial,
        "else": whole,
        "$defs": {name: writer.defs[name] for name in sorted(writer.defs)},
    }


class _Writer:
    """Collects the definitions that are referred to."""

    def __init__(self) -> None:
        self.defs: dict[str, Json] = {"interpolation": INTERPOLATION_TEXT}
        self.named: dict[str, type] = {}

    def value(self, shape: Shape, partial: bool) -> Json:
        """Whatever a shape admits; what is merged over something else may also be null, which removes."""
        others = [INTERPOLATION, *([_NULL] if shape.optional or partial else [])]
        if shape.form == "slot":
            one = self.slot(shape, partial, others)
            return _as("array", {"items": one}, one) if shape.many else one
        if shape.form == "section":
            assert shape.cls is not None
            return _as("object", self.section(shape.cls, partial), any_of([_MAP, *others]))
        if shape.form == "list":
            assert shape.item is not None
            return _as("array", {"items": self.value(shape.item, partial)}, any_of([{"type": "array"}, *others]))
        if shape.form == "map":
            assert shape.item is not None
            item = self.value(shape.item, partial)
            return _as("object", {"additionalProperties": item}, any_of([_MAP, *others]))
        found = leaf(shape.annotation)
        return any_of([found, _NULL]) if _NULL in others else found

    def slot(self, shape: Shape, partial: bool, others: list[Json]) -> Json:
        """A member of a kind: its name, or a map with `type`, which the slot's default type may leave out."""
        kind = shape.kind
        # What is inherited or merged from elsewhere may be of any type, so that any member's fields may stand alone.
        loose = partial or (KINDS[kind].inherits and (shape.inherit or shape.default is None))
        default = None if loose else shape.type_name(None)
        name = f"{kind}.slot" if loose else f"{kind}.slot.{default or 'typed'}"
        name += ".null" if _NULL in others else ""
        if name not in self.defs:
            self.defs[name] = {}
            each = list(members(kind))
            spoken = [cls for cls in each if loose or not required(cls)]
            words = [{"type": "string", **worded(spoken)}] if spoken else []
            alone = {**_MAP, "not": {"required": ["type"]}}
            self.defs[name] = {
                "anyOf": [*words, _MAP, *others],
                "properties": {"type": any_of([worded(each), INTERPOLATION])},
                # Choosing by `type`, and not trying every member, leaves a validator one thing to say of a mistake.
                "allOf": [
                    {"if": alone, "then": self.untyped(each, default, loose)},
                    *({"if": _typed(cls.spec_name), "then": self.section(cls, loose)} for cls in each),
                ],
            }
        return {"$ref": f"#/$defs/{name}"}

    def untyped(self, each: list[type[Component]], default: str | None, loose: bool) -> Json:
        """A slot's map without `type`: the default type's, of any type where that is said elsewhere, else a mistake."""
        known = next((cls for cls in each if cls.spec_name == default), None)
        if known is not None:
            return self.section(known, False)
        keys: dict[str, Json] = {}
        for cls in each:
            found: dict[str, Json] = self.properties(cls, True) if loose else {key: {} for key in fields(cls)}
            for key, value in found.items():
                # What several types say of a key is most often the same.
                keys[key] = value if key not in keys or value == keys[key] else _either(keys[key], value)
        return {"properties": keys, "additionalProperties": False, **({} if loose else {"required": ["type"]})}

    def section(self, cls: type[Section], partial: bool) -> Json:
        """A section's or component's fields; nothing else may stand there."""
        name = self.name(cls) + (".partial" if partial else "")
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self.definition(cls, partial)
        return {"$ref": f"#/$defs/{name}"}

    def properties(self, cls: type[Section], partial: bool) -> dict[str, Json]:
        """What may stand under each key."""
        properties = dict(FILE_KEYS) if cls is Spec else {}
        # A field that others are merged over need be whole only where it stands alone.
        under = set(cls.underlay.values()) - {WHOLE}
        for name, info in cls.model_fields.items():
            key = info.alias or name
            shape = fields(cls)[key]
            value = {} if key in under and not partial else self.value(shape, partial or key in cls.underlay)
            properties[key] = described(value, descriptions(cls).get(name), info, shape)
        for old, new in getattr(cls, "renamed", {}).items():
            properties[old] = {**properties[new], "deprecated": True, "description": f"Now called `{new}`."}
        return properties

    def definition(self, cls: type[Section], partial: bool) -> Json:
        """The schema of a section's or component's map."""
        properties = self.properties(cls, partial)
        if issubclass(cls, Component):
            properties = {"type": {"const": cls.spec_name, "description": about(cls)}, **properties}
        under, shapes = set(cls.underlay.values()) - {WHOLE}, fields(cls)
        out: Json = {
            "title": f"{cls.kind} {cls.spec_name}" if issubclass(cls, Component) else cls.__name__,
            "description": about(cls),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if partial:
            return out
        needed = required(cls)
        if needed - under:
            out["required"] = sorted(needed - under)
        if under:
            merged, alone = ({key: self.value(shapes[key], loose) for key in sorted(under)} for loose in (True, False))
            out["if"] = {"anyOf": [{"required": [key]} for key in cls.underlay]}
            out["then"] = {"properties": merged}
            out["else"] = {"properties": alone, **({"required": sorted(needed & under)} if needed & under else {})}
        return out

    def name(self, cls: type[Section]) -> str:
        """A name for a class, its own where no other has it."""
        name = f"{cls.kind}.{cls.spec_name}" if issubclass(cls, Component) else cls.__name__
        if self.named.setdefault(name, cls) is not cls:
            name = f"{cls.__module__}.{cls.__qualname__}"
            self.named[name] = cls
        return name


def infos(cls: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section under the keys of a spec."""
    return {info.alias or name: info for name, info in cls.model_fields.items()}


def required(cls: type[Section], _inside: tuple[type, ...] = ()) -> set[str]:
    """The keys a spec must say: those without a default, and slots whose default type has such keys itself."""
    if cls in _inside:
        return set()
    shapes, found = fields(cls), set()
    for key, info in infos(cls).items():
        if info.is_required():
            found.add(key)
        elif shapes[key].form == "slot" and isinstance(shapes[key].default, str):
            default = shapes[key].member_of(None)
            if default is not None and required(default, (*_inside, cls)):
                found.add(key)
    return found


def worded(each: list[type[Component]]) -> Json:
    """The names of components, each with what it is."""
    return {"enum": [cls.spec_name for cls in each], "enumDescriptions": [*map(about, each)]}


def _as(kind: str, then: Json, other: Json) -> Json:
    """One schema of what is of a JSON type, another of anything else: no mistake in the one is told by the other."""
    return {"if": {"type": kind}, "then": then, "else": other}


def _either(one: Json, other: Json) -> Json:
    """What one of two schemas admits, described as by the first."""
    bare = [{key: each[key] for key in each if key not in ("description", "default")} for each in (one, other)]
    return {**any_of(bare), **({"description": one["description"]} if "description" in one else {})}


def _typed(name: str) -> Json:
    return {**_MAP, "required": ["type"], "properties": {"type": {"const": name}}}


def about(cls: type) -> str:
    """A class's docstring on one line."""
    return " ".join((inspect.getdoc(cls) or "").split())


def described(schema: Json, about: str | None, info: FieldInfo, shape: Shape) -> Json:
    """A field's schema with its description and its default."""
    out = dict(schema)
    if about:
        out["description"] = about
    if not info.is_required() and info.default_factory is None:
        default: Any = info.default
        out["default"] = default.to_plain(defaults=False) if isinstance(default, Section) else default
    elif shape.inherit:
        out["description"] = f"{out.get('description', '')} Inherited where nothing is said.".lstrip()
    return out
