"""Overrides from the command line or a call: `model.layers=12`, laid over the spec by the one merge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from blueprint.diagnosis import Problem
from blueprint.load.notes import noted
from blueprint.load.reader import scan, source_of
from blueprint.schema.merge import merge
from blueprint.schema.shape import Shape
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span

NAME = "override"
_STEP = re.compile(r"[^\s.=\[\]{}:,'\"]+")
#: What has done its work before overrides are read.
_EARLIER = ("blueprint", "extends", "plugins")


def apply(root: Map, overrides: Sequence[str], shape: Shape | None) -> tuple[Map, list[Problem]]:
    """Lay `path=value` texts over a spec, left to right; a malformed one becomes a problem and changes nothing.

    Values are read like values in a file. Steps of a path are keys, or indices where a list stands; maps on the way
    are made, and a shorthand keeps its type (`model.norm.eps=1e-5` over `norm: rms`).
    """
    problems: list[Problem] = []
    for text in overrides:
        read = _read(text)
        if isinstance(read, list):
            problems += read
            continue
        steps, value = read
        built = _build(root, steps, value, shape)
        if isinstance(built, Problem):
            problems.append(replace(built, path=tuple(step for step, _ in steps)))
        else:
            merged = merge(root, built, shape)
            assert isinstance(merged, Map)
            root = merged
    return root, problems


def _read(text: str) -> tuple[list[tuple[str, Span]], Node] | list[Problem]:
    """The steps of an override's path with their places, and its value; or what is wrong with it."""
    source = source_of(text, NAME)

    def wrong(message: str, column: int, length: int, fix: str = "write `model.layers=12`") -> list[Problem]:
        return [Problem("override", message, span=Span(source, 1, column + 1, max(1, length)), fix=fix)]

    path, equals, said = text.partition("=")
    if not equals:
        return wrong("an override is `path=value`, and this has no `=`", 0, len(text))
    if not path.strip():
        return wrong("an override needs a path before its `=`", 0, 1)
    if not said.strip():
        return wrong("an override needs a value after its `=`", len(path), 1, f"write `{path}=null` to remove it")
    steps: list[tuple[str, Span]] = []
    column = 0
    for step in path.split("."):
        if not _STEP.fullmatch(step):
            found = re.search(r"[\s\[\]{}:,'\"]", step)
            what = f"`{found[0]}` cannot stand in a path" if found else "a path has a word between its dots"
            fix = "write `path=value` without spaces; indices are steps too: `model.pattern.0=local`"
            return wrong(what, column + (found.start() if found else 0), 1, fix)
        steps.append((step, Span(source, 1, column + 1, len(step))))
        column += len(step) + 1
    if steps[0][0] in _EARLIER:
        return wrong(f"`{steps[0][0]}` is read before overrides", 0, len(steps[0][0]), "say it in the file")
    reading = scan(said, source, shift=len(path) + 1)
    if reading.problems or reading.node is None:
        return reading.problems
    return steps, noted(reading.node, f"set by the override `{text}`")


def _build(node: Node | None, steps: Sequence[tuple[str, Span]], value: Node, shape: Shape | None) -> Node | Problem:
    """The tree that, laid over `node`, sets `value` at the end of `steps`; lists on the way are written out whole."""
    if not steps:
        return value
    (step, span), rest = steps[0], steps[1:]
    if isinstance(node, Seq):
        if not step.isdecimal() or int(step) >= len(node.items):
            last = len(node.items) - 1
            what = f"a list of {last + 1} stands here" if last >= 0 else "an empty list stands here"
            fix = f"use an index from 0 to {last}, or set the whole list" if last >= 0 else "set the whole list"
            return Problem("override", f"`{step}` is no index: {what}", span=span, fix=fix)
        at = int(step)
        item_shape = shape.child(step, node) if shape is not None else None
        inner = _build(node.items[at], rest, value, item_shape)
        if isinstance(inner, Problem):
            return inner
        item = merge(node.items[at], inner, item_shape)
        return replace(node, items=(*node.items[:at], item, *node.items[at + 1 :]))
    below = node.get(step) if isinstance(node, Map) else None
    if isinstance(node, Scalar) and not _opens(node, shape):
        return Problem(
            "override",
            f"`{step}` leads into `{node.value}` at {node.span}, which holds nothing",
            span=span,
            fix="set the whole value, or a path that ends one step earlier",
        )
    inner = _build(below, rest, value, shape.child(step, node) if shape is not None else None)
    if isinstance(inner, Problem):
        return inner
    return Map({step: Entry(step, span, inner, inner.notes)}, span)


def _opens(node: Scalar, shape: Shape | None) -> bool:
    """Whether a path may go through a plain value: null makes room, and a slot's shorthand stands for a map."""
    return node.value is None or (isinstance(node.value, str) and shape is not None and shape.form == "slot")
