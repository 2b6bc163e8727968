"""What is wrong with a family file before any config is read: its keys, their types, expressions that do not parse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from blueprint.diagnosis import Problem, nearest
from blueprint.interop.env import expressions, within
from blueprint.interop.expression import ExpressionFault, said
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, leaves, plain

#: What a family file must say, and what it may.
REQUIRED = ("match", "model", "weights")
OPTIONAL = ("description", "defaults", "aliases", "inert", "let", "templates", "tied", "drop", "layouts")
KEYS = REQUIRED + OPTIONAL
#: What a rule of `weights` may say, where it is more than a name.
RULE_KEYS = ("from", "as", "when", "sizes")
#: Names that mean something already, and that `let` may not take.
TAKEN = ("hf", "i", "n", "true", "false", "null", "and", "or", "not", "in", "if", "else")


def problems(root: Map) -> Iterator[Problem]:
    """What is wrong with a family's outline; what its expressions come to shows when it is filled."""
    yield from _unknown_keys(root, KEYS, "a family", ())
    for key in REQUIRED:
        if key not in root.entries:
            yield Problem("missing-key", f"`{key}` is required of a family", (key,), Span(root.span.source))
    for key, entry in root.entries.items():
        if key == "description":
            if not isinstance(entry.value, Scalar) or not isinstance(entry.value.value, str):
                yield _wrong(entry, "a text", (key,))
        elif key == "layouts":
            whole = isinstance(entry.value, Seq) and all(isinstance(item, Map) for item in entry.value.items)
            if not whole or not plain(entry.value):
                yield _wrong(entry, "a list of maps", (key,))
        elif key in KEYS and not isinstance(entry.value, Map):
            yield _wrong(entry, "a map", (key,))
    for key, part in ((key, root.get(key)) for key in ("match", "aliases", "let", "weights")):
        if isinstance(part, Map):
            yield from {"match": _match, "aliases": _aliases, "let": _let, "weights": _weights}[key](part)
    for key in ("defaults", "inert", "let", "templates", "model"):
        node = root.get(key)
        if node is not None:
            yield from _expressions(node, key)


def _wrong(entry: Entry, expected: str, path: tuple[str, ...]) -> Problem:
    value = said(plain(entry.value))
    return Problem("wrong-type", f"expected {expected}, got {value}", path, entry.value.span)


def _unknown_keys(node: Map, known: tuple[str, ...], owner: str, path: tuple[str, ...]) -> Iterator[Problem]:
    for key, entry in node.entries.items():
        if key not in known:
            meant = nearest(key, known)
            fix = None if meant else f"the keys here are {', '.join(known)}"
            yield Problem("unknown-key", f"unknown key of {owner}", (*path, key), entry.span, meant, fix)


def _match(node: Map) -> Iterator[Problem]:
    if not node.entries:
        yield Problem("wrong-value", "an empty `match` would match every config", ("match",), node.span)


def _aliases(node: Map) -> Iterator[Problem]:
    for key, entry in node.entries.items():
        items = entry.value.items if isinstance(entry.value, Seq) else (entry.value,)
        if not all(isinstance(item, Scalar) and isinstance(item.value, str) for item in items):
            yield _wrong(entry, "an older name of the field, or a list of them", ("aliases", key))
        elif key in plain(Seq(tuple(items), entry.span)):
            yield Problem("wrong-value", f"`{key}` is an alias of itself", ("aliases", key), entry.span)


def _let(node: Map) -> Iterator[Problem]:
    for key, entry in node.entries.items():
        if not key.isidentifier() or key in TAKEN:
            why = "means something already" if key in TAKEN else "is no name: letters, digits and `_`"
            yield Problem("wrong-value", f"`{key}` {why}", ("let", key), entry.span)


def _weights(node: Map) -> Iterator[Problem]:
    for key, entry in alternatives(node):
        path = ("weights", key)
        if isinstance(entry.value, Map):
            yield from _unknown_keys(entry.value, RULE_KEYS, "a rule", path)
            misspelt = any(nearest(each, RULE_KEYS) == "from" for each in entry.value.entries)
            if "from" not in entry.value.entries and not misspelt:
                yield Problem("missing-key", "a rule needs `from`: the name in the file", path, entry.span)
        elif not isinstance(entry.value, Scalar) or not isinstance(entry.value.value, str):
            what = "a tensor's name in the file, a map with `from`, or a list of these, each with its `when`"
            yield _wrong(entry, what, path)


def alternatives(weights: Map) -> Iterator[tuple[str, Entry]]:
    """The rules of a family with their keys; a list under a key is as many rules."""
    for key, entry in weights.entries.items():
        listed = isinstance(entry.value, Seq) and len(entry.value.items) > 0
        for item in entry.value.items if isinstance(entry.value, Seq) and listed else (entry.value,):
            yield key, replace(entry, value=item)


def _expressions(node: Node, key: str) -> Iterator[Problem]:
    """Every `${…}` that cannot be parsed, whether it would be read or not."""
    for path, leaf in leaves(node, (key,)):
        if isinstance(leaf.value, str) and "${" in leaf.value:
            try:
                list(expressions(leaf.value))
            except ExpressionFault as fault:
                span = within(leaf.span, leaf.value, fault.offset, fault.length)
                yield Problem("expression", str(fault), path, span, fault.suggestion, fault.fix)
