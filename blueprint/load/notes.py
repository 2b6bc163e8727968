"""Where a value came from, kept on the tree so that a diagnosis can say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from blueprint.tree import Map, Node, Seq, Span

Notes = tuple[str, ...]


def noted(node: Node, note: str) -> Node:
    """The tree with `note` on every node and key."""
    return rewritten(node, lambda span, notes: (span, (*notes, note)))


def rewritten(node: Node, change: Callable[[Span, Notes], tuple[Span, Notes]]) -> Node:
    """The tree with every place and its notes changed."""
    span, notes = change(node.span, node.notes)
    if isinstance(node, Map):
        entries = {}
        for key, entry in node.entries.items():
            place, said = change(entry.span, entry.notes)
            entries[key] = replace(entry, span=place, notes=said, value=rewritten(entry.value, change))
        return replace(node, entries=entries, span=span, notes=notes)
    if isinstance(node, Seq):
        return replace(node, items=tuple(rewritten(item, change) for item in node.items), span=span, notes=notes)
    return replace(node, span=span, notes=notes)
