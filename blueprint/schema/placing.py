"""Where things stand in the text, and what the places are called: what validation needs besides judging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from blueprint.component import Component, Section
from blueprint.diagnosis import Problem
from blueprint.registry import member, names
from blueprint.schema.shape import fields
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, find

#: The path under which the text at a place (source, line, column) is written.
Places = Mapping[tuple[str, int, int], tuple[str, ...]]


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


def path_of(span: Span | None, places: Places) -> tuple[str, ...] | None:
    """The path under which the text at a place is written."""
    return places.get((span.source.name, span.line, span.column)) if span is not None else None


def placed(problems: list[Problem], root: Map, places: Places) -> list[Problem]:
    """The problems under the paths where their text is written.

    What was found in one variant only, of something that nobody said, lies where that variant speaks of it.
    """
    often = Counter((problem.message, problem.span) for problem in problems)
    out: list[Problem] = []
    for problem in problems:
        path = path_of(problem.span, places)
        if not path or not problem.path:
            out.append(problem)
        elif path[-1] == problem.path[-1]:
            out.append(replace(problem, path=path))
        else:
            _, entry, _ = find(root, problem.path)
            own = entry is not None and entry.key == path[-1] and often[problem.message, problem.span] == 1
            out.append(replace(problem, span=entry.span) if own and entry is not None else problem)
    return out


def apart(entries: Collection[Entry], at: str | None, places: Places) -> Iterator[str]:
    """Where the other values that a rule reads are said, if not beside the one at `at` that it blames."""
    blamed = next((entry for entry in entries if entry.key == at), None)
    if blamed is None:
        return
    there = path_of(blamed.span, places) or ()
    for entry in entries:
        here = path_of(entry.span, places) or ()
        beside = here[:-1] == there[:-1] and entry.span.source is blamed.span.source
        if here and not beside and not entry.notes and isinstance(entry.value, Scalar):
            yield f"`{entry.key}: {entry.value.value}` is said at {entry.span}, under {'.'.join(here[:-1])}"


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
