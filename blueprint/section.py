"""Sections: the parts of a spec with fixed fields, slots among them, and how they are written out again."""

# Annotations are no strings here: pydantic reads a base's again for every class below it, and strings take far longer.
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from blueprint.arithmetic import ArithmeticFault, parse
from blueprint.formula import Formed, Formula
from blueprint.rules import Fault, Rule
from blueprint.unknown import UNKNOWN, NotKnown

if TYPE_CHECKING:
    from blueprint.site import Site


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

    #: Whether its numbers may be said as arithmetic: whether it stands somewhere in a model.
    formulas: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls.formulas:
            for info in cls.__pydantic_fields__.values():
                if _is_number(info):
                    info.metadata = [*info.metadata, Formed(info.rebuild_annotation())]
        return handler(source)

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
        faults = _found(type(self), values)
        if faults:
            raise ValueError("; ".join(f"{fault.at}: {fault.message}" for fault in faults))
        return self

    @classmethod
    @cache
    def formed(cls) -> tuple[tuple[str, Formed], ...]:
        """The fields whose numbers may be said as arithmetic."""
        marks = [(name, mark) for name, info in cls.model_fields.items() for mark in info.metadata]
        return tuple((name, mark) for name, mark in marks if isinstance(mark, Formed))

    def evaluated(self, at: "Site") -> Self:
        """The section with the numbers that are said as arithmetic, as far as the site tells them.

        Raises `ArithmeticFault` for what comes to no number that its field takes, or breaks a rule.
        """
        told: dict[str, Any] = {}
        for name, mark in type(self).formed():
            text = vars(self).get(name)
            if isinstance(text, Formula) and not (at.head_dim is None and "head_dim" in parse(str(text)).names):
                told[name] = mark.number(name, text, at)
        for name, inner in vars(self).items():
            if isinstance(inner, Section) and inner.formulas and not inner.is_part():
                known = inner.evaluated(at)
                told |= {} if known is inner else {name: known}
        if not told:
            return self
        known = self.model_copy(update=told)
        for fault in _found(type(self), vars(known)):
            raise ArithmeticFault(fault.message)
        return known

    def passing(self) -> frozenset[str]:
        """The fields that mean nothing to a model that has learned: dropout, initial weights, what balances experts."""
        slots = {name: slot_kinds(info.annotation) for name, info in type(self).model_fields.items()}
        gone = {name for name, kinds in slots.items() if kinds and not any(kind.lasts for kind in kinds)}
        return frozenset(gone | ({"dropout"} & slots.keys()))

    @classmethod
    def is_part(cls) -> bool:
        """Whether it stands at a site of its own."""
        return False

    def to_plain(self, *, defaults: bool = True, inherited: Mapping[str, "Section"] | None = None) -> dict[str, Any]:
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

    def default(self, name: str, inherited: Mapping[str, "Section"] = MappingProxyType({})) -> Any:
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


def _found(cls: type[Section], values: Mapping[str, Any]) -> list[Fault]:
    """What the rules of a class find, as far as values are known."""
    found: list[Fault] = []
    for each in cls.rules():
        with suppress(NotKnown):
            found += each.faults(values)
    return found


def _is_number(info: FieldInfo) -> bool:
    """Whether a field takes a number, and nothing else but null."""
    if any(isinstance(mark, Formed) for mark in info.metadata):
        return False
    parts = [part for part in _bare(info.annotation) if part is not type(None)]
    return bool(parts) and all(part in (int, float) for part in parts)


def _bare(annotation: Any) -> list[Any]:
    """What a union is of, without constraints."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [bare for part in get_args(annotation) for bare in _bare(part)]
    return [annotation]


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
    return str(value) if isinstance(value, Formula) else value


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


def sections(value: Any) -> Iterator[Section]:
    """The sections in a value of a spec, however deep, each before what is inside it; raises `NotKnown` where
    something is not known."""
    if value is UNKNOWN:
        raise NotKnown
    if isinstance(value, Section):
        yield value
        value = [getattr(value, name) for name in type(value).model_fields]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for each in inside:
        yield from sections(each)


def slot_kinds(annotation: Any) -> list[Any]:
    """The kinds whose members `annotation` admits (`Norm`, `Norm | None`, `list[Mask]`, …)."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation] if annotation.is_kind() else []
    return [kind for part in get_args(annotation) for kind in slot_kinds(part)]
