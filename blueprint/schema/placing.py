"""Where things stand in the text, and what the places are called: what validation needs besides judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from blueprint.component import Component, Section
from blueprint.diagnosis import Problem
from blueprint.registry import member, names
from blueprint.schema.shape import fields
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, find


def written(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, int, int], tuple[str, ...]]]:
    """Every place of the text where a key or value begins, with its path."""
    if isinstance(node, Map):
        for key, entry in node.entries.items():
            yield (entry.span.source.name, entry.span.line, entry.span.column), (*path, key)
            yield from written(entry.value, (*path, key))
    elif isinstance(node, Seq):
        for index, item in enumerate(node.items):
            yield from written(item, (*path, str(index)))
    else:
        yield (node.span.source.name, node.span.line, node.span.column), path


def said_at(problem: Problem, written: Mapping[tuple[str, int, int], tuple[str, ...]]) -> tuple[str, ...]:
    """The path under which a problem's text is written, where that is another than it was found under."""
    span = problem.span
    path = written.get((span.source.name, span.line, span.column)) if span is not None else None
    return path if path and problem.path and path[-1] == problem.path[-1] else problem.path


def reached(node: Node, loc: tuple[int | str, ...]) -> tuple[Node, tuple[str, ...]]:
    """The node pydantic's `loc` means; steps that are names of a union's branches are not in the text."""
    steps: tuple[str, ...] = ()
    for step in map(str, loc):
        inner, _, taken = find(node, (step,))
        if taken:
            node, steps = inner, (*steps, step)
    return node, steps


def as_map(node: Map | Scalar | None, name: str | None, span: Span) -> Map:
    """A slot's node written out as a map with `type`."""
    if isinstance(node, Map) and "type" in node.entries:
        return node
    typed = Entry("type", node.span if node else span, Scalar(name, node.span if node else span))
    return Map({"type": typed, **(node.entries if isinstance(node, Map) else {})}, node.span if node else span)


def inherited(node: Node, base: Map | None) -> Node:
    """`node` over what it inherits, where both are of one type."""
    if base is None or not isinstance(node, Map | Scalar):
        return node
    own = node.get("type") if isinstance(node, Map) else node
    theirs = base.get("type")
    if own is not None and (not isinstance(own, Scalar) or not isinstance(theirs, Scalar) or own.value != theirs.value):
        return node
    return Map({**base.entries, **(node.entries if isinstance(node, Map) else {})}, node.span, node.notes)


def label(cls: type[Section]) -> str:
    """What the fields of a class are called in a diagnosis."""
    if issubclass(cls, Component):
        return f"{cls.kind} `{cls.spec_name}`"
    return "the spec" if cls.__name__ == "Spec" else f"`{_snake(cls.__name__)}`"


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def elsewhere(key: str, cls: type[Section]) -> str | None:
    """Where a key that means nothing here does mean something: another type of the kind, or a part inside."""
    for inner, shape in fields(cls).items():
        owner = shape.member_of(None)
        if owner is not None and key in fields(owner):
            return f"`{key}` belongs one level deeper, under `{inner}`"
    if issubclass(cls, Component) and cls.kind:
        owners = [name for name in names(cls.kind) if key in fields(member(cls.kind, name))]
        if owners:
            return f"`{key}` is a field of {cls.kind} {', '.join(f'`{name}`' for name in owners)}"
    return None
