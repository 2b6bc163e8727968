"""What may stand at a place of a spec, read off the annotations of its sections: the one description that merging,
validation, the JSON Schema and `explain` share."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from blueprint.component import Component, Section
from blueprint.registry import UnknownComponent, member
from blueprint.tree import Map, Node, Scalar

Form = Literal["slot", "section", "list", "map", "leaf"]


@dataclass(frozen=True)
class Shape:
    """What a node may be: a `slot` of a kind, a `section`, a `list` or `map` of such, or a `leaf` pydantic judges.

    `many` marks a slot that also takes a list (masks); `optional` one that takes null.
    """

    form: Form
    annotation: Any
    cls: type[Section] | None = None
    item: Shape | None = None
    default: Any = None
    inherit: bool = False
    optional: bool = False
    many: bool = False

    @property
    def establishes(self) -> bool:
        """Whether this slot says what others of its kind, beside and below it, inherit.

        A slot that inherits does not, nor one that is empty unless something is said: that one takes the kind, where
        it is used, from the enclosing part too.
        """
        if self.form != "slot" or self.cls is None or self.inherit or self.default is None:
            return False
        return issubclass(self.cls, Component) and self.cls.inherits

    def member_of(self, node: Node | None) -> type[Section] | None:
        """The class whose fields apply to `node`: for a slot, the effective type's (None where that is unknown)."""
        if self.form == "section":
            return self.cls
        if self.form != "slot" or self.cls is None:
            return None
        name = self.type_name(node)
        try:
            return member(self.kind, name) if name is not None else None
        except (UnknownComponent, ValueError):
            return None

    @property
    def kind(self) -> str:
        """The kind of a slot."""
        assert self.cls is not None and issubclass(self.cls, Component)
        return self.cls.kind

    def type_name(self, node: Node | None) -> str | None:
        """The effective type's name of a slot's node: said, by shorthand, or the slot's default."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        if isinstance(node, Map) and "type" in node.entries:
            said = node.get("type")
            return said.value if isinstance(said, Scalar) and isinstance(said.value, str) else None
        if self.default is not None:
            default = self.default
            return default if isinstance(default, str) else default.get("type") if isinstance(default, dict) else None
        assert self.cls is not None and issubclass(self.cls, Component)
        return self.cls.fallback

    def child(self, key: str, node: Node | None) -> Shape | None:
        """The shape under `key` of `node`, or None where that is not known."""
        if self.form in ("list", "map"):
            return self.item
        cls = self.member_of(node)
        return None if cls is None else fields(cls).get(key)


@cache
def fields(cls: type[Section]) -> dict[str, Shape]:
    """The shape of every field of a section or component."""
    return {info.alias or name: shape_of(info.rebuild_annotation(), info) for name, info in cls.model_fields.items()}


def shape_of(annotation: Any, info: FieldInfo | None = None) -> Shape:
    """The shape an annotation (with its field's default) describes."""
    default, inherit = None, False
    if info is not None:
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        inherit = bool(extra.get("inherit"))
        default = None if info.is_required() or info.default_factory is not None else info.default
    bare, optional = _strip(annotation)
    slot = _slot(bare)
    if slot is not None:
        return Shape("slot", annotation, slot, default=default, inherit=inherit, optional=optional)
    if isinstance(bare, type) and issubclass(bare, Section):
        return Shape("section", annotation, bare, default=default, optional=optional)
    origin, args = get_origin(bare), get_args(bare)
    if origin in (Union, types.UnionType):
        # A slot that also takes a list of members: `Mask | list[Mask]`.
        slots = [found for part in args if (found := _slot(part))]
        if slots and all(_slot(part) or get_origin(part) in (list, tuple) for part in args):
            return Shape("slot", annotation, slots[0], default=default, optional=optional, many=True)
    if origin in (list, tuple) and args and _structured(args[0]):
        return Shape("list", annotation, item=shape_of(args[0]), default=default, optional=optional)
    if origin is dict and _structured(args[1]):
        return Shape("map", annotation, item=shape_of(args[1]), default=default, optional=optional)
    return Shape("leaf", annotation, default=default, optional=optional)


def _strip(annotation: Any) -> tuple[Any, bool]:
    """The annotation without `| None` and `Annotated`, and whether None was among it."""
    if get_origin(annotation) is Annotated:
        return _strip(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        if len(rest) < len(get_args(annotation)):
            return (_strip(rest[0])[0] if len(rest) == 1 else Union[tuple(rest)]), True  # noqa: UP007
    return annotation, False


def _slot(annotation: Any) -> type[Component] | None:
    bare, _ = _strip(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, Component) and bare.is_kind() else None


def _structured(annotation: Any) -> bool:
    bare, _ = _strip(annotation)
    return isinstance(bare, type) and issubclass(bare, Section)
