"""The JSON Schema (2020-12) of everything that is registered, for editors and standard validators.

Every section and component is a definition; a slot admits the names of its kind's members and a map for each of them.
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
        found = self._value(shape, partial)
        return any_of([found, _NULL]) if shape.optional or partial else found

    def _value(self, shape: Shape, partial: bool) -> Json:
        if shape.form == "slot":
            one = self.slot(shape, partial)
            return {"anyOf": [one, {"type": "array", "items": one}]} if shape.many else one
        if shape.form == "section":
            assert shape.cls is not None
            return {"anyOf": [self.section(shape.cls, partial), INTERPOLATION]}
        if shape.form in ("list", "map"):
            assert shape.item is not None
            item = self.value(shape.item, partial)
            if shape.form == "list":
                return {"anyOf": [{"type": "array", "items": item}, INTERPOLATION]}
            return {"anyOf": [{"type": "object", "additionalProperties": item}, INTERPOLATION]}
        return leaf(shape.annotation)

    def slot(self, shape: Shape, partial: bool) -> Json:
        """A member of a kind: its name, or a map with `type`, which the slot's default type may leave out."""
        kind = shape.kind
        # What is inherited or merged from elsewhere may be of any type, so that any member's fields may stand alone.
        loose = partial or (KINDS[kind].inherits and (shape.inherit or shape.default is None))
        default = None if loose else shape.type_name(None)
        name = f"{kind}.slot" if loose else f"{kind}.slot.{default or 'typed'}"
        if name not in self.defs:
            self.defs[name] = {}
            each = list(members(kind))
            spoken = [cls for cls in each if loose or not required(cls)]
            options: list[Json] = []
            if spoken:
                words = {"enum": [cls.spec_name for cls in spoken], "enumDescriptions": [*map(about, spoken)]}
                options.append({"type": "string", **words})
            for cls in each:
                typed = {"allOf": [self.section(cls, loose), {"required": ["type"]}]}
                options.append(self.section(cls, loose) if loose or cls.spec_name == default else typed)
            self.defs[name] = {"anyOf": [*options, INTERPOLATION]}
        return {"$ref": f"#/$defs/{name}"}

    def section(self, cls: type[Section], partial: bool) -> Json:
        """A section's or component's fields; nothing else may stand there."""
        name = self.name(cls) + (".partial" if partial else "")
        if name not in self.defs:
            self.defs[name] = {}
            self.defs[name] = self.definition(cls, partial)
        return {"$ref": f"#/$defs/{name}"}

    def definition(self, cls: type[Section], partial: bool) -> Json:
        properties: dict[str, Json] = {}
        if issubclass(cls, Component):
            properties["type"] = {"const": cls.spec_name, "description": about(cls)}
        if cls is Spec:
            properties |= FILE_KEYS
        # A field that others are merged over need be whole only where it stands alone.
        under = set(cls.underlay.values()) - {WHOLE}
        shapes = fields(cls)
        for name, info in cls.model_fields.items():
            key = info.alias or name
            shape = shapes[key]
            loose = partial or key in cls.underlay or key in under
            properties[key] = described(self.value(shape, loose), descriptions(cls).get(name), info, shape)
        for old, new in getattr(cls, "renamed", {}).items():
            properties[old] = {**properties[new], "deprecated": True, "description": f"Now called `{new}`."}
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
            alone = {key: self.value(shapes[key], False) for key in sorted(under)}
            out["if"] = {"anyOf": [{"required": [key]} for key in cls.underlay]}
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
