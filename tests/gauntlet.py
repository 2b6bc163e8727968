"""Ways to spoil a spec, one at a time, for `test_gauntlet.py`; each knows where the diagnosis must point."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from blueprint.component import Component
from blueprint.load import ROOT
from blueprint.load.reader import read, source_of
from blueprint.registry import names
from blueprint.schema.expect import choices
from blueprint.schema.shape import Shape, fields
from blueprint.tree import Entry, Map, Node, Scalar, Seq, plain


@dataclass(frozen=True)
class Spoiled:
    """A spec's text with one thing wrong: the line it is on, and the word it should have been."""

    kind: str
    what: str
    text: str
    line: int
    word: str | None = None


def misspellings(word: str, known: list[str], rng: random.Random) -> list[str]:
    """One and two edits of a word, none of them a word of its own."""
    out = []
    for edits in (1, 2):
        for _ in range(20):
            wrong = word
            for _ in range(edits):
                wrong = _edit(wrong, rng)
            if wrong not in known and wrong != word and wrong:
                out.append(wrong)
                break
    return out


def _edit(word: str, rng: random.Random) -> str:
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    if not word:  # of one letter, and that one gone
        return letter
    at = rng.randrange(len(word))
    swapped = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    return rng.choice(
        [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :], swapped]
    )


def spoiled(text: str, seed: int = 0) -> Iterator[Spoiled]:
    """Everything this module does to one spec."""
    rng = random.Random(seed)
    block = yaml.safe_dump(
        plain(read(text, source_of(text, "spec"))), sort_keys=False, allow_unicode=True, width=10_000
    )
    for each in (text, block):
        root = read(each, source_of(each, "spec"))
        assert isinstance(root, Map)
        yield from _words(each, root, ROOT, rng)
    root = read(block, source_of(block, "spec"))
    assert isinstance(root, Map)
    yield from _lines(block, root, ROOT)


def _replace(text: str, node: Entry | Node, new: str) -> str:
    lines = text.split("\n")
    span = node.span
    line = lines[span.line - 1]
    lines[span.line - 1] = line[: span.column - 1] + new + line[span.column - 1 + span.length :]
    return "\n".join(lines)


def _words(text: str, node: Node, shape: Shape | None, rng: random.Random) -> Iterator[Spoiled]:
    """Keys, type names and enumerated values misspelt; every leaf of a wrong type."""
    if shape is None:
        return
    if isinstance(node, Map):
        cls = shape.member_of(node)
        known = [*(fields(cls) if cls else []), "type", "extends", "plugins"]
        for key, entry in node.entries.items():
            if shape.form != "map":
                for wrong in misspellings(key, known, rng):
                    yield Spoiled("key", f"{key} → {wrong}", _replace(text, entry, wrong), entry.span.line, key)
            if key == "type" and shape.form == "slot":
                yield from _typename(text, entry.value, shape, rng)
            else:
                yield from _words(text, entry.value, shape.child(key, node), rng)
    elif isinstance(node, Seq):
        for item in node.items:
            if shape.form == "slot" or shape.item is not None:
                yield from _words(text, item, shape if shape.form == "slot" else shape.item, rng)
    elif shape.form == "slot":
        yield from _typename(text, node, shape, rng)
    else:
        yield from _leaf(text, node, shape, rng)


def _typename(text: str, node: Node, shape: Shape, rng: random.Random) -> Iterator[Spoiled]:
    if isinstance(node, Scalar) and isinstance(node.value, str):
        for wrong in misspellings(node.value, names(shape.kind), rng):
            yield Spoiled("type", f"{node.value} → {wrong}", _replace(text, node, wrong), node.span.line, node.value)
        yield Spoiled("wrong type", f"{node.value} → 3", _replace(text, node, "3"), node.span.line)


def _leaf(text: str, node: Scalar, shape: Shape, rng: random.Random) -> Iterator[Spoiled]:
    known = choices(shape.annotation)
    if isinstance(node.value, str) and node.value in known:
        for wrong in misspellings(node.value, known, rng):
            yield Spoiled("value", f"{node.value} → {wrong}", _replace(text, node, wrong), node.span.line, node.value)
    yield Spoiled("wrong type", f"{node.value} → [[1]]", _replace(text, node, "[[1]]"), node.span.line)
    if not isinstance(node.value, str):
        yield Spoiled("wrong type", f"{node.value} → lots", _replace(text, node, "lots"), node.span.line)


def _lines(text: str, root: Map, shape: Shape) -> Iterator[Spoiled]:
    """In block style: required keys deleted, keys given twice, unknown keys at every level."""
    lines = text.split("\n")
    alone = "extends" not in root.entries  # what is left out may stand in a file that it builds on
    for node, here, above in _maps(root, shape, 1):
        cls = here.member_of(node)
        required = {info.alias or n for n, info in cls.model_fields.items() if info.is_required()} if cls else set()
        if here.form == "slot" and here.default is None and cls is not None and issubclass(cls, Component):
            required |= set() if cls.inherits else {"type"}
        for key, entry in node.entries.items():
            start = entry.span.line - 1
            end = start + 1
            while end < len(lines) and (
                lines[end].startswith((" " * entry.span.column, "- ", " " * (entry.span.column - 1) + "- "))
            ):
                end += 1
            if alone and key in required and len(node.entries) > 1:
                shorter = "\n".join(lines[:start] + lines[end:])
                yield Spoiled("missing", f"{key} deleted", shorter, above)
            # The first key of an item of a list stands behind a dash, which would begin another item.
            again = [" " * (entry.span.column - 1) + lines[start][entry.span.column - 1 :], *lines[start + 1 : end]]
            twice = "\n".join(lines[:end] + again + lines[end:])
            yield Spoiled("duplicate", f"{key} twice", twice, end + 1)
        first = next(iter(node.entries.values()), None)
        if (
            first is not None
            and here.form != "map"
            and lines[first.span.line - 1][: first.span.column - 1].strip() == ""
        ):
            unknown = " " * (first.span.column - 1) + "zzqx: 1"
            at = first.span.line - 1
            yield Spoiled("unknown", "zzqx added", "\n".join([*lines[:at], unknown, *lines[at:]]), at + 1)


def _maps(node: Node, shape: Shape | None, above: int) -> Iterator[tuple[Map, Shape, int]]:
    if isinstance(node, Map) and shape is not None:
        yield node, shape, above
        for key, entry in node.entries.items():
            yield from _maps(entry.value, shape.child(key, node), entry.span.line)
    elif isinstance(node, Seq) and shape is not None:
        for item in node.items:
            yield from _maps(item, shape if shape.form == "slot" else shape.item, item.span.line)
