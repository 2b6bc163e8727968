"""The one merge: `extends`, overrides, `blocks` over `block`, and the sides of a stack all go through it.

Maps merge, lists replace, `null` removes, a shorthand `rms` means `{type: rms}`, and another effective `type` replaces
a slot whole. Fields a component has renamed are read under their old names here, where the effective type is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from blueprint.component import Section
from blueprint.registry import UnknownComponent, member
from blueprint.schema.shape import Shape, fields
from blueprint.section import WHOLE
from blueprint.tree import Entry, Map, Node, Scalar, Seq


@dataclass(frozen=True)
class _Around:
    """What decides a slot's effective type where its own node says none.

    `under` is the node that lies under this one (`block` under a variant of it); `inherited` is what the enclosing
    parts say of kinds that inherit (norms), by kind.
    """

    under: Node | None = None
    inherited: Mapping[str, str] = field(default_factory=dict)


def merge(
    base: Node,
    over: Node,
    shape: Shape | None = None,
    *,
    under: Node | None = None,
    inherited: Mapping[str, str] | None = None,
) -> Node:
    """What `base` becomes when `over` is laid on it; `shape` says what stands here (None: plain maps and lists).

    `under` says the types that `base` leaves out, `inherited` those of kinds that inherit. A `null` removes the key
    it stands under, unless the key may be null, is required or is absent below: then it stays, to be judged by
    validation, which can point at it.
    """
    return _lay(base, over, shape, _Around(under, inherited or {}))


def _lay(base: Node | None, over: Node, shape: Shape | None, around: _Around) -> Node:
    if isinstance(over, Seq):
        item = _item(shape)
        return replace(over, items=tuple(_lay(None, each, item, around) for each in over.items))
    if shape is not None and shape.form == "slot":
        return _slot(base, over, shape, around)
    if isinstance(over, Map):
        cls = shape.cls if shape is not None and shape.form == "section" else None
        return _maps(base if isinstance(base, Map) else None, over, shape, cls, around)
    return over


def _slot(base: Node | None, over: Map | Scalar, shape: Shape, around: _Around) -> Node:
    name = _effective(shape, base, around)
    if isinstance(over, Scalar):
        return base if isinstance(base, Map) and name is not None and over.value == name else over
    said = over.get("type")
    if said is not None and name is None:
        # Nobody said a type below, so nothing there belongs to another.
        name = _text(said)
    if said is not None and _text(said) != name:
        # Another type: no field of the old one may survive, nor speak for the types inside.
        name, base, around = _text(said), None, replace(around, under=None)
    elif not over.entries and isinstance(base, Scalar) and base.value is not None:
        return base
    below = _spelled_out(base) if base is not None else None
    return _maps(below if isinstance(below, Map) else None, over, shape, _member(shape, name), around)


def _maps(base: Map | None, over: Map, shape: Shape | None, cls: type[Section] | None, around: _Around) -> Map:
    """`over` laid on a map whose fields are those of `cls`."""
    over = _renamed(over, cls)
    known = fields(cls) if cls is not None else {}
    entries = dict(base.entries) if base is not None else {}
    inherited = _inherited(around, known, base, over)
    # What lies under other fields is merged before them, as it says their types.
    later = cls.underlay if cls is not None else {}
    for key, entry in sorted(over.entries.items(), key=lambda each: each[0] in later):
        inner = shape.item if shape is not None and shape.form in ("list", "map") else known.get(key)
        present = entries.get(key)
        may_stay = (inner is not None and inner.optional) or _required(cls, key)
        if _is_null(entry.value) and present is not None and not may_stay:
            del entries[key]
            continue
        below = _below(key, around, cls, entries, over, shape)
        value = _lay(present.value if present else None, entry.value, inner, _Around(below, inherited))
        # What was confirmed or added to keeps the place where it was said first.
        kept = present is not None and value.span is present.value.span
        entries[key] = replace(present if present is not None and kept else entry, value=value)
    return Map(entries, base.span, base.notes) if base is not None else replace(over, entries=entries)


def _below(
    key: str, around: _Around, cls: type[Section] | None, entries: Mapping[str, Entry], whole: Map, shape: Shape | None
) -> Node | None:
    """The node that lies under `key`: by the section's `underlay`, or the same key of what lies under the whole."""
    if cls is not None and key in cls.underlay:
        common = cls.underlay[key]
        if common == WHOLE:
            return Map(dict(entries), whole.span)
        # What this whole lies over may say it.
        lower = around.under.get(common) if isinstance(around.under, Map) else None
        node = entries[common].value if common in entries else lower or Map({}, whole.span)
        known = fields(cls).get(common)
        name = known.type_name(None) if known is not None and known.form == "slot" else None
        if name is None or not isinstance(node, Map) or "type" in node.entries:
            return node
        # Only asked for types: the default one is said here, where it is known.
        return node.with_entry(Entry("type", node.span, Scalar(name, node.span)))
    if shape is not None and shape.form == "map":
        return around.under
    return around.under.get(key) if isinstance(around.under, Map) else None


def _inherited(around: _Around, known: Mapping[str, Shape], base: Map | None, over: Map) -> Mapping[str, str]:
    """What parts inside this one inherit: what it says itself of such a kind, else what came from outside."""
    own: dict[str, str] = {}
    for key, shape in known.items():
        if shape.establishes:
            said = base.get(key) if base is not None else None
            name = _effective(shape, said if said is not None else over.get(key), around)
            if name is not None:
                own[shape.kind] = name
    return {**around.inherited, **own} if own else around.inherited


def _effective(shape: Shape, node: Node | None, around: _Around) -> str | None:
    """The type a slot has before anything is laid on it: said, by what lies under it, inherited, or the default."""
    for each in (node, around.under):
        name = _text(each) if isinstance(each, Scalar) else _text(each.get("type")) if isinstance(each, Map) else None
        if name is not None:
            return name
    if not shape.establishes and shape.kind in around.inherited:
        return around.inherited[shape.kind]
    return shape.type_name(None)


def _text(node: Node | None) -> str | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _required(cls: type[Section] | None, key: str) -> bool:
    """Whether a section cannot be without a key."""
    found = cls.model_fields.items() if cls is not None else ()
    return any(key == (info.alias or name) and info.is_required() for name, info in found)


def _item(shape: Shape | None) -> Shape | None:
    """The shape of a list's items: of a slot that takes several, the same slot without its default."""
    if shape is not None and shape.form == "slot" and shape.many:
        return replace(shape, many=False, default=None)
    return shape.item if shape is not None and shape.form == "list" else None


def _spelled_out(node: Node) -> Node:
    """A slot's shorthand as the map it stands for."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Map({"type": Entry("type", node.span, node, node.notes)}, node.span, node.notes)
    return node


def _member(shape: Shape, name: str | None) -> type[Section] | None:
    """The component a slot's type names; None where there is none, which validation reports."""
    try:
        return member(shape.kind, name) if name is not None else None
    except (UnknownComponent, ValueError):
        return None


def _renamed(node: Map, cls: type[Section] | None) -> Map:
    """The map with fields under their present names; where both names are given, the old one is left to be seen."""
    old_names: Mapping[str, str] = getattr(cls, "renamed", {})
    if not any(old in node.entries for old in old_names):
        return node
    entries: dict[str, Entry] = {}
    for key, entry in node.entries.items():
        new = old_names.get(key)
        if new is None or new in node.entries:
            entries[key] = entry
        else:
            entries[new] = replace(entry, key=new, notes=(*entry.notes, f"written as `{key}`, which is now `{new}`"))
    return replace(node, entries=entries)
