"""The tree a spec is before it is a model: plain values that remember where they were written.

Every node carries a `Span`, so that whatever is found wrong later, after `extends`, overrides and interpolation,
points at the text the user typed. Nodes are never changed in place: merging makes new maps around old leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A text that specs are read from: a file, a string, a command-line override or a Python dict."""

    name: str
    # Places are hashed often, and the name tells sources apart well enough.
    lines: tuple[str, ...] = field(default=(), hash=False, repr=False)
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source; line and column count from 1, `length` is in characters of that line."""

    source: Source
    line: int = 1
    column: int = 1
    length: int = 1

    @property
    def text(self) -> str:
        """The line the span lies in, without its line break; empty where the source has no text."""
        return self.source.lines[self.line - 1] if 0 < self.line <= len(self.source.lines) else ""

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}" if self.source.lines else self.source.name


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf: null, a boolean, a number or a string."""

    value: bool | int | float | str | None
    span: Span
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map with the place of the key and the value under it."""

    key: str
    span: Span
    value: Node
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping; keys are strings, their order is the text's."""

    entries: dict[str, Entry]
    span: Span
    notes: tuple[str, ...] = ()

    def get(self, key: str) -> Node | None:
        """The value under `key`, or None where the key is absent."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value

    def with_entry(self, entry: Entry) -> Map:
        """A copy in which `entry` stands under its key, in the key's old place if it had one."""
        return replace(self, entries={**self.entries, entry.key: entry})

    def without(self, *keys: str) -> Map:
        """A copy that lacks `keys`."""
        return replace(self, entries={k: e for k, e in self.entries.items() if k not in keys})


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    items: tuple[Node, ...]
    span: Span
    notes: tuple[str, ...] = ()


Node = Scalar | Map | Seq


def plain(node: Node) -> Any:
    """The node as ordinary Python values, without positions."""
    if isinstance(node, Map):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return node.value


def from_plain(value: Any, span: Span, notes: tuple[str, ...] = ()) -> Node:
    """A tree of plain Python values whose every node lies at `span`; raises TypeError for what YAML cannot say."""
    if isinstance(value, dict):
        return Map({str(k): Entry(str(k), span, from_plain(v, span), notes) for k, v in value.items()}, span, notes)
    if isinstance(value, list | tuple):
        return Seq(tuple(from_plain(item, span) for item in value), span, notes)
    if value is None or isinstance(value, bool | int | float | str):
        return Scalar(value, span, notes)
    raise TypeError(f"a spec holds maps, lists, strings, numbers, booleans and null, not {type(value).__name__}")


def find(root: Node, path: tuple[str, ...]) -> tuple[Node, Entry | None, int]:
    """Walk `path` as far as it exists: the last node reached, the entry that led to it, and the steps taken."""
    node, entry, taken = root, None, 0
    for step in path:
        if isinstance(node, Map) and step in node.entries:
            entry = node.entries[step]
            node = entry.value
        elif isinstance(node, Seq) and step.isdigit() and int(step) < len(node.items):
            node, entry = node.items[int(step)], None
        else:
            break
        taken += 1
    return node, entry, taken


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Scalar]]:
    """Every scalar of the tree with its path."""
    if isinstance(node, Map):
        for key, entry in node.entries.items():
            yield from leaves(entry.value, (*path, key))
    elif isinstance(node, Seq):
        for index, item in enumerate(node.items):
            yield from leaves(item, (*path, str(index)))
    else:
        yield path, node
