"""Sections: the parts of a spec with fixed fields, slots among them, and how they are written out again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from blueprint.rules import Rule
from blueprint.unknown import NotKnown


@dataclass(frozen=True, slots=True)
class FromItsFile:
    """Marks a field that holds paths: a relative one starts from the file of the spec that says it."""


#: A path. Said in a spec's file it is relative to that file, said elsewhere (an override) to the working directory;
#: a spec that was read holds it absolute.
FilePath = Annotated[str, FromItsFile()]

#: What lies under a field that is merged over all that its section says.
WHOLE = "."


class Section(BaseModel):
    """A part of a spec with fixed fields: frozen, strict (`"8"` is no number), nothing extra."""

    # The strings below fields describe them: `blueprint.describe` reads those, and only when somebody asks.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    #: Fields that are merged over another field of the section (variants over the common block), or over the section
    #: itself where that is called `WHOLE` (a side over what both sides have in common).
    underlay: ClassVar[dict[str, str]] = {}

    @classmethod
    def is_kind(cls) -> bool:
        """Whether this class is a kind's base, so that a field of it is a slot."""
        return False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Only a part that was read in part lacks a field: the one that was said wrongly.
            if name in type(self).model_fields:
                raise NotKnown(name)
            return super().__getattr__(name)

    @classmethod
    def partial(cls, values: Mapping[str, Any]) -> Self:
        """A section of which only `values` are known, to be judged by what asks for no more than that."""
        part: Any = cls.model_construct()
        part.__dict__.clear()
        part.__dict__.update(values)
        return part  # type: ignore[no-any-return]

    @classmethod
    @cache
    def rules(cls) -> tuple[Rule, ...]:
        """The rules of this class and its bases, bases first; an overridden rule counts once."""
        found: dict[str, Rule] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                marked = getattr(getattr(value, "__wrapped__", value), "__blueprint_rule__", None)
                if isinstance(marked, Rule):
                    found[name] = marked
        return tuple(found.values())

    @model_validator(mode="after")
    def _hold_rules(self) -> Self:
        # The reader runs the rules itself, with positions; this guards objects made in Python.
        values = {name: getattr(self, name) for name in type(self).model_fields}
        faults = [fault for each in type(self).rules() for fault in each.faults(values)]
        if faults:
            raise ValueError("; ".join(f"{fault.at}: {fault.message}" for fault in faults))
        return self

    def to_plain(self, *, defaults: bool = True, inherited: Mapping[str, Section] | None = None) -> dict[str, Any]:
        """The section as plain values that read back to an equal one.

        `defaults=False` leaves out what would be there anyway: defaults, and what the enclosing part passes on
        (`inherited`, by kind).
        """
        passed = dict(inherited or {})
        for name, info in type(self).model_fields.items():
            kind = _passes_on(info)
            if kind is not None and isinstance(value := getattr(self, name), Section):
                passed[kind] = value
        out: dict[str, Any] = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if defaults or info.is_required() or value != self.default(name, passed):
                own = inherited if _passes_on(info) is not None else passed
                out[info.alias or name] = _value(value, defaults, own)
        return out

    def default(self, name: str, inherited: Mapping[str, Section] = MappingProxyType({})) -> Any:
        """What field `name` holds where nothing is said; `inherited` is what enclosing parts pass on, by kind."""
        info = type(self).model_fields[name]
        kinds = slot_kinds(info.annotation)
        if kinds and _inherits(info):
            return inherited.get(kinds[0].kind, kinds[0].of({}))
        default = info.get_default(call_default_factory=True, validated_data={})
        if not kinds or not (isinstance(default, str) or (isinstance(default, dict) and "type" in default)):
            return default
        try:
            return kinds[0].of(default)
        except ValueError:
            # A default with required fields of its own (the heads of an attention) is never what stands there unsaid;
            # nor is null, which a field may hold: nothing equals this.
            return ...


def _inherits(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("inherit"))


def _passes_on(info: FieldInfo) -> str | None:
    """The kind that a field says for everything inside its section, if it does."""
    kinds = slot_kinds(info.annotation)
    said = not _inherits(info) and info.default is not None
    return kinds[0].kind if kinds and kinds[0].inherits and said else None


def _value(value: Any, defaults: bool, inherited: Mapping[str, Section] | None) -> Any:
    if isinstance(value, Section):
        said = value.to_plain(defaults=defaults, inherited=inherited)
        short = not defaults and said.keys() == {"type"} and "type" not in type(value).model_fields
        return said["type"] if short else said
    if isinstance(value, list | tuple):
        return [_value(item, defaults, inherited) for item in value]
    if isinstance(value, dict):
        return {str(key): _value(item, defaults, inherited) for key, item in value.items()}
    return value


def slot(
    default: Any = ..., *, inherit: bool = False, description: str | None = None, example: str | None = None
) -> Any:
    """A field that holds a component: annotate it with the kind's base class.

    `default` is a name or a map as YAML would say it; `inherit=True` takes, where nothing is said, what the enclosing
    part says of the kind.
    """
    extra: dict[str, Any] = {"inherit": inherit, "example": example}
    what: dict[str, Any] = {"default_factory": dict} if inherit else {"default": default}
    return Field(**what, validate_default=True, description=description, json_schema_extra=extra)


def slot_kinds(annotation: Any) -> list[Any]:
    """The kinds whose members `annotation` admits (`Norm`, `Norm | None`, `list[Mask]`, …)."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation] if annotation.is_kind() else []
    return [kind for part in get_args(annotation) for kind in slot_kinds(part)]
