"""The contract of a component: what is said (pydantic, no torch) and the one door, `build`, to what computes.

A *kind* is a place a spec has (`norm`, `attention`, …); a *component* is a registered member of one. This file knows
neither by name. A new idea is one class with `@register`, and validation, schema, docs, cost and tests follow.
"""

# Annotations are no strings here: pydantic reads a base's again for every class below it, and strings take far longer.
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from blueprint.rules import Fault, Faults, Rule, as_faults, rule
from blueprint.section import FilePath, Section, slot, slot_kinds
from blueprint.site import Evaluated, Factor, Means, Number, Site, Size
from blueprint.unknown import NotKnown

__all__ = [
    "KINDS",
    "MEMBERS",
    "Component",
    "Evaluated",
    "Factor",
    "Fault",
    "Faults",
    "FilePath",
    "Means",
    "NotKnown",
    "Number",
    "Rule",
    "Section",
    "Site",
    "Size",
    "as_faults",
    "place",
    "register",
    "rule",
    "slot",
    "slot_kinds",
]

C = TypeVar("C", bound="Component")


#: Every kind by name: `KINDS["norm"]` is the class whose subclasses may fill a `norm` slot.
KINDS: dict[str, type["Component"]] = {}


class Component(Section):
    """A member of a kind. Subclass the kind's base class and decorate with `@register(name)`.

    Subclass with `kind="…"` to make a new kind. `traits` are declared facts the engine reads (`causal`,
    `incremental`, `linear_cost`, `needs_positions`, `exportable`, …). A part whose `scope` (a field or class variable)
    is `stack` makes what all layers share by `Site.once`.
    """

    kind: ClassVar[str] = ""
    spec_name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    renamed: ClassVar[dict[str, str]] = {}
    traits: ClassVar[frozenset[str]] = frozenset()
    #: Whether a slot of this kind that is left out takes what the enclosing part says of the kind (norms do).
    inherits: ClassVar[bool] = False
    #: For `inherits`: what stands where nobody said anything.
    fallback: ClassVar[str | None] = None
    #: What else a spec says when it holds a component of this kind or name, by key path (for trying it out).
    beside: ClassVar[dict[str, Any]] = {}
    formulas: ClassVar[bool] = True
    #: Whether it bears on a model that has learned: what begins it, or acts while it learns, does not.
    lasts: ClassVar[bool] = True
    #: The role under which a precision policy keeps parts of this kind in float32 (None: never).
    float32_role: ClassVar[str | None] = None
    #: Whether what such a part gives then stays float32 too, because it leaves the stream (logits do).
    float32_result: ClassVar[bool] = False

    def __init_subclass__(cls, kind: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind is not None:
            cls.kind = kind
            KINDS[kind] = cls
        if "build" in vars(cls):
            cls.build = _announced(vars(cls)["build"])  # type: ignore[method-assign, assignment]
        if "filled" in vars(cls):
            cls.filled = _of_numbers(vars(cls)["filled"])  # type: ignore[method-assign, assignment]

    @classmethod
    def is_kind(cls) -> bool:
        """Whether this class is a kind's base, so that a field of it is a slot."""
        return KINDS.get(cls.kind) is cls

    @classmethod
    def is_part(cls) -> bool:
        """A component stands at a site of its own."""
        return True

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_kind():
            return super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_plain_validator_function(cls.of)

    @classmethod
    def of(cls, value: Any) -> Any:
        """A member of this kind from an instance, a name or `{type: name, …}`; raises ValueError for anything else."""
        if isinstance(value, cls):
            return value
        from blueprint.registry import member

        said = {"type": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else None
        if said is None:
            raise ValueError(f"{cls.kind} takes a name, or a map with `type`")
        name = said.pop("type", cls.fallback)
        if not isinstance(name, str):
            raise ValueError(f"{cls.kind} needs a `type`")
        return member(cls.kind, name).model_validate(said)

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Settings to try the component with, in documentation and the contract test.

        By default one: required whole numbers are 4, other numbers 0.5, choices their first word. Override where that
        makes no sense, or to show more.
        """
        out: dict[str, Any] = {}
        for name, info in cls.model_fields.items():
            if info.is_required():
                out[info.alias or name] = _example(info.annotation)
        return [out]

    def parts(self, at: Site) -> Iterator[tuple[str, "Component", Site]]:
        """The parts inside this one with their sites; override where a part's width or heads differ."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, Component):
                    yield name, item, at.child(name)

    def filled(self, at: Site) -> Self:
        """The component with nothing left to say: expressions evaluated, defaults that depend on the site written out.

        Override to fill what is None because it depends on other fields, and call `super().filled(at)`. Raises
        `arithmetic.ArithmeticFault` where an expression has no value here.
        """
        self = self.evaluated(at)
        update = self._with_parts(at, lambda part, site: part.filled(site))
        for name, mark in type(self).expressions():
            value = getattr(self, name)
            if isinstance(value, str):
                update[name] = mark.number(name, value, at)
        return self.model_copy(update=update)

    @classmethod
    @functools.cache
    def expressions(cls) -> tuple[tuple[str, Evaluated], ...]:
        """The fields that are made for arithmetic: their defaults may be."""
        found = []
        for name, info in cls.model_fields.items():
            # One that may also be null has its mark inside.
            inside = (mark for part in get_args(info.annotation) for mark in getattr(part, "__metadata__", ()))
            mark = next((each for each in (*info.metadata, *inside) if isinstance(each, Evaluated)), None)
            if mark is not None:
                found.append((name, mark))
        return tuple(found)

    def _with_parts(self, at: Site, change: Callable[["Component", Site], "Component"]) -> dict[str, Any]:
        """The fields that hold parts, each part changed at its site."""
        update: dict[str, Any] = {}
        for name, part, site in self.parts(at):
            if name in type(self).model_fields:
                many = isinstance(getattr(self, name), list | tuple)
                changed = change(part, site)
                update[name] = [*update.get(name, []), changed] if many else changed
        return update

    def miniature(self, at: Site) -> Self:
        """The same structure at a small size, for trying out what is too large to run; `at` is the small site.

        Sizes shrink in proportion to the width; override where counts must keep a ratio (heads to kv heads). Always
        called on a filled component.
        """
        update = self._with_parts(at, lambda part, site: part.miniature(site))
        for name, mark in type(self).expressions():
            value = getattr(self, name)
            if mark.whole and isinstance(value, int):
                update[name] = min(value, 2 * at.d_model)
        return self.model_copy(update=update)

    def check(self, at: Site) -> Faults:
        """What is wrong with this part *here* (widths, lengths, neighbours), in the user's words; no torch."""
        return None

    def build(self, at: Site) -> Any:
        """The module that computes; the only door to torch."""
        raise TypeError(f"{self.kind} `{self.spec_name}` builds no module")

    def to_plain(self, *, defaults: bool = True, inherited: Mapping[str, Section] | None = None) -> dict[str, Any]:
        """`{type: name, …fields}`; a part of an inheriting kind is compared with what it inherits."""
        return {"type": self.spec_name, **super().to_plain(defaults=defaults, inherited=inherited)}

    def default(self, name: str, inherited: Mapping[str, Section] = MappingProxyType({})) -> Any:
        """What field `name` holds where nothing is said, or what a part of an inheriting kind takes over."""
        base = inherited.get(self.kind) if self.inherits else None
        if base is not None and type(base) is type(self) and base is not self:
            return getattr(base, name)
        return super().default(name, inherited)


def _example(annotation: Any) -> Any:
    """A value that an annotation most likely takes."""
    if slot_kinds(annotation):
        kind = slot_kinds(annotation)[0]
        return kind.fallback
    words = [word for word in get_args(annotation) if isinstance(word, str)]
    if words:
        return words[0]
    simple = {int: 4, float: 0.5, bool: True, str: "text", list: []}
    found = [annotation, *get_args(annotation)]
    return next((simple[each] for each in found if isinstance(each, type) and each in simple), None)


def _announced(build: Callable[[Any, Site], Any]) -> Callable[[Any, Site], Any]:
    """`build`, telling whoever builds the model of every part that is made."""

    @functools.wraps(build)
    def announced(self: Component, at: Site) -> Any:
        made = build(self, at)
        return made if at.built is None else at.built(self, at, made)

    return announced


def _of_numbers(filled: Callable[[Any, Site], Any]) -> Callable[[Any, Site], Any]:
    """`filled`, given the component with its numbers."""

    @functools.wraps(filled)
    def of_numbers(self: Component, at: Site) -> Any:
        return filled(self.evaluated(at), at)

    return of_numbers


#: Every registered component by kind and name.
MEMBERS: dict[tuple[str, str], type[Component]] = {}


def register(name: str, *, version: int = 1, renamed: Mapping[str, str] | None = None) -> Callable[[type[C]], type[C]]:
    """Make a class speakable in a spec as `type: name`.

    `version` enters the plan's hash: raise it when the same fields, or a field left out, come to mean other
    mathematics. `renamed` maps old field names to new ones, so that older specs still read. Raises ValueError where
    the name is taken, saying by whom.
    """

    def mark(cls: type[C]) -> type[C]:
        if not cls.kind or cls.is_kind():
            raise ValueError(f"{place(cls)}: subclass a kind (Norm, Attention, …) to register a component of it")
        taken = MEMBERS.get((cls.kind, name))
        if taken is not None and place(taken) != place(cls):
            raise ValueError(f"{cls.kind} `{name}` is registered twice: in {place(taken)} and in {place(cls)}")
        cls.spec_name, cls.version, cls.renamed = name, version, dict(renamed or {})
        MEMBERS[cls.kind, name] = cls
        return cls

    return mark


def place(cls: type) -> str:
    """Where a class is defined: its file and line, or its module where the file is not known."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"
