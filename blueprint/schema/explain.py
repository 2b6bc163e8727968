"""What a key of a spec is: in words, with what it expects, its default, where it is written down and who reads it."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic.fields import FieldInfo

from blueprint.component import KINDS, Component, Section, place
from blueprint.describe import descriptions
from blueprint.diagnosis import nearest
from blueprint.formula import SITE_NAMES, Formed
from blueprint.registry import kinds, member, members, names
from blueprint.schema.expect import expectation
from blueprint.schema.readers import Reader, readers, shown
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec
from blueprint.tree import Map, Node, Scalar, Seq, find, plain


class UnknownPath(ValueError):
    """No key, kind or component is called so; the message says where the path ends and what was likely meant."""


@dataclass(frozen=True)
class Entry:
    """A name and one line on it."""

    name: str
    about: str


@dataclass(frozen=True)
class Explanation:
    """All that is known of one place of a spec, or of one kind or component."""

    path: str
    what: str
    owner: str = ""
    expects: str = ""
    default: str = ""
    said: str | None = None
    source: str = ""
    file: str = ""
    members: tuple[Entry, ...] = ()
    keys: tuple[Entry, ...] = ()
    readers: tuple[Reader, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """The explanation as JSON-ready values."""
        entries = {name: {e.name: e.about for e in getattr(self, name)} for name in ("members", "keys")}
        read = [{"what": r.what, "file": shown(r.file), "line": r.line} for r in self.readers]
        simple = {name: getattr(self, name) for name in ("path", "what", "owner", "expects", "default", "said")}
        return {**simple, "source": self.source, "file": self.file, **entries, "readers": read}


@dataclass(frozen=True)
class _Spot:
    """A place reached: its shape, the node of the spec there if any, and the field that led to it."""

    shape: Shape
    node: Node | None = None
    owner: type[Section] | None = None
    key: str = ""
    #: The kind whose enclosing member gives what is not said here.
    inherits: str | None = None


def explain(path: str, root: Map | None = None) -> list[Explanation]:
    """What `path` is: a key of a spec (`model.block.attention.heads`), a kind, or `KIND.NAME` with or without a field.

    Types are those that `root` says, else the defaults; a key that the default type lacks is explained for every
    member that has it. Raises `UnknownPath`.
    """
    steps = [step for step in path.split(".") if step]
    if not steps:
        raise UnknownPath("say a path, such as `model.block.attention`")
    if steps[0] in fields(Spec):
        try:
            return [_explained(spot, path, root) for spot in _walk(steps, root)]
        except UnknownPath:
            if len(steps) < 2 or steps[0] not in kinds() or steps[1] not in names(steps[0]):
                raise
    if steps[0] in kinds():
        return [_named(steps, path)]
    raise _unknown(steps[0], [*fields(Spec), *kinds()], "the spec")


def _walk(steps: list[str], root: Map | None) -> list[_Spot]:
    spots = [_Spot(Shape("section", Spec, Spec), root)]
    for index, step in enumerate(steps):
        found = [spot for before in spots for spot in _below(before, step)]
        if not found:
            raise _unknown(step, _choices(spots[0]), f"`{'.'.join(steps[:index])}`" if index else "the spec")
        # Where several types lead to one and the same field, it is told once.
        spots = list({(spot.owner, spot.key): spot for spot in reversed(found)}.values())[::-1]
    return spots


def _below(spot: _Spot, step: str) -> list[_Spot]:
    shape, node = spot.shape, spot.node
    child = find(node, (step,)) if node is not None else None
    inner = child[0] if child is not None and child[2] else None
    if shape.form in ("list", "map"):
        assert shape.item is not None
        return [replace(spot, shape=shape.item, node=inner)]
    if shape.many and (step.isdigit() or isinstance(node, Seq)):
        return [replace(spot, shape=replace(shape, many=False), node=inner)]
    if shape.form == "slot" and step == "type":
        return [spot]
    inherits = shape.kind if shape.form == "slot" and shape.inherit else None
    found = [
        _Spot(fields(cls)[step], _prepared(inner, fields(cls)[step]), cls, step, inherits)
        for cls in _owners(spot)
        if step in fields(cls)
    ]
    return found if _free(spot, step) else found[:1]


def _prepared(node: Node | None, shape: Shape) -> Node | None:
    """A section as the reader sees it, its variants merged over what lies under them."""
    cls = shape.member_of(node)
    prepare = getattr(cls, "prepare", None)
    if prepare is None or not isinstance(node, Map):
        return node
    done: Map = prepare(node)
    for key, entry in node.entries.items():
        now = done.get(key)
        if now is None or (isinstance(now, Scalar) and now.value is None):
            done = done.with_entry(entry)  # what has done its work is still what was said
    return done


def _owners(spot: _Spot) -> list[type[Section]]:
    """The classes whose fields may stand at a spot, the likeliest first."""
    first = spot.shape.member_of(spot.node)
    if spot.shape.form != "slot" or _typed(spot.node):
        return [first] if first is not None else []
    others = [cls for cls in members(spot.shape.kind) if cls is not first]
    return [first, *others] if first is not None else list(others)


def _free(spot: _Spot, step: str) -> bool:
    """Whether a key may be any member's that has it: nothing says the type, and the default type lacks the key."""
    first = spot.shape.member_of(spot.node)
    return first is None or step not in fields(first)


def _typed(node: Node | None) -> bool:
    return isinstance(node, Scalar) or (isinstance(node, Map) and "type" in node.entries)


def _choices(spot: _Spot) -> list[str]:
    return [key for cls in _owners(spot) for key in fields(cls)]


def _unknown(word: str, known: list[str], where: str) -> UnknownPath:
    meant = nearest(word, known)
    hint = f"; did you mean `{meant}`?" if meant else f"; there are {', '.join(dict.fromkeys(known))}" if known else ""
    return UnknownPath(f"`{word}` is no key of {where}{hint}")


def _explained(spot: _Spot, path: str, root: Map | None) -> Explanation:
    shape = spot.shape
    if spot.owner is None or spot.key not in fields(spot.owner):
        return replace(_about_class(shape.cls or Spec, path), members=_members(shape))
    info = next(i for n, i in spot.owner.model_fields.items() if (i.alias or n) == spot.key)
    name = next(n for n, i in spot.owner.model_fields.items() if (i.alias or n) == spot.key)
    found = find(root, tuple(path.split("."))) if root is not None else None
    return Explanation(
        path,
        descriptions(spot.owner).get(name, ""),
        owner=_label(spot.owner),
        expects=_expects(shape),
        default=_default(info, shape)
        + (f", unless the enclosing {spot.inherits} says otherwise" if spot.inherits else ""),
        said=f"{_short(plain(found[0]))} ({found[0].span})" if found and found[2] == len(path.split(".")) else None,
        source=class_doc(spot.owner),
        file=class_place(spot.owner),
        members=_members(shape),
        keys=_keys(shape.cls) if shape.form == "section" and shape.cls else (),
        readers=tuple(readers(spot.owner, name)),
    )


def _named(steps: list[str], path: str) -> Explanation:
    """A kind, a component, or a component's field."""
    kind, *rest = steps
    if not rest:
        return replace(
            _about_class(KINDS[kind], path), keys=(), members=_members(Shape("slot", KINDS[kind], KINDS[kind]))
        )
    if rest[0] not in names(kind):
        raise _unknown(rest[0], names(kind), f"the kind `{kind}`")
    cls = member(kind, rest[0])
    if len(rest) == 1:
        return _about_class(cls, path)
    spots = [_Spot(Shape("section", cls, cls))]
    for step in rest[1:]:
        below = [spot for before in spots for spot in _below(before, step)]
        if not below:
            raise _unknown(step, _choices(spots[0]), _label(cls))
        spots = below
    return _explained(spots[0], path, None)


def _about_class(cls: type[Section], path: str) -> Explanation:
    return Explanation(path, class_doc(cls), owner=_label(cls), file=class_place(cls), keys=_keys(cls))


def _members(shape: Shape) -> tuple[Entry, ...]:
    if shape.form != "slot":
        return ()
    return tuple(Entry(cls.spec_name, class_doc(cls)) for cls in members(shape.kind))


def _keys(cls: type[Section]) -> tuple[Entry, ...]:
    return tuple(Entry(info.alias or name, descriptions(cls).get(name, "")) for name, info in cls.model_fields.items())


def _expects(shape: Shape) -> str:
    null = " or null" if shape.optional else ""
    if shape.form == "slot":
        many = ", or a list of them" if shape.many else ""
        return f"{'an' if shape.kind[0] in 'aeiou' else 'a'} {shape.kind}: {', '.join(names(shape.kind))}{many}{null}"
    if shape.form == "section":
        return f"a map{null}"
    if shape.form in ("list", "map"):
        assert shape.item is not None
        return f"a {shape.form}, each {_expects(shape.item)}{null}"
    said = expectation(shape.annotation)
    arithmetic = any(isinstance(mark, Formed) for mark in get_args(shape.annotation))
    return f"{said}, or an expression of {', '.join(SITE_NAMES)}" if arithmetic else said


def _default(info: FieldInfo, shape: Shape) -> str:
    if info.is_required():
        return "none: it must be said"
    if shape.inherit:
        return f"the enclosing {shape.kind}"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Section):
        return "its keys' defaults"
    return _short(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:97] + "…"


def class_doc(cls: type) -> str:
    """A class's docstring on one line."""
    return " ".join((inspect.getdoc(cls) or "").split())


def class_place(cls: type) -> str:
    """Where a class is defined, as a person reads it."""
    file, _, line = place(cls).rpartition(":")
    return f"{shown(file)}:{line}" if file else line


def _label(cls: type[Section]) -> str:
    if issubclass(cls, Component) and cls.spec_name:
        return f"{cls.kind} `{cls.spec_name}`"
    if issubclass(cls, Component):
        return f"the kind `{cls.kind}`"
    return "the spec" if cls is Spec else f"the section {cls.__name__}"
