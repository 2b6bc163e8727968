"""YAML text to a tree with positions, through pyyaml's events: nothing is built before its size is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from blueprint.diagnosis import Problem, SpecError, nearest
from blueprint.load import scalars, syntax
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Source, Span

MAX_BYTES = 10_000_000
MAX_NODES = 200_000
MAX_DEPTH = 100
MAX_PROBLEMS = 100

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Reading:
    """What a text gave: its tree (None where it is no YAML at all), what is wrong with it, and its number of nodes."""

    node: Node | None
    problems: list[Problem]
    count: int = 0


def source_of(text: str, name: str, directory: str | None = None) -> Source:
    """The source of a text, split into lines as YAML does."""
    return Source(name, tuple(text.removeprefix("\ufeff").splitlines()), directory)


def read(text: str, source: Source) -> Node:
    """The tree of a YAML text; raises SpecError with everything that is wrong with it."""
    return whole(scan(text, source))


def whole(reading: Reading) -> Node:
    """The tree of a reading that went well; raises SpecError for one that did not."""
    if reading.problems or reading.node is None:
        raise SpecError(reading.problems)
    return reading.node


def scan(text: str, source: Source, *, shift: int = 0) -> Reading:
    """Read a text whose first line starts `shift` characters into the first line of `source`; never raises.

    Syntax errors and breached bounds leave no tree; duplicate keys, tags and such leave one that went on without them.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        message = f"a spec has at most {MAX_BYTES // 1_000_000} MB"
        return Reading(None, [Problem("too-large", message, span=Span(replace(source, lines=())))])
    wrong = syntax.forbidden(text, source)
    if wrong is not None:
        return Reading(None, [wrong])
    reader = _Reader(source, shift)
    try:
        reader.run(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        reader.problems.append(syntax.explain(error, source, shift))
        return Reading(None, reader.problems)
    except _Stop as stop:
        return Reading(None, [*reader.problems, stop.problem])
    return Reading(reader.root, reader.problems, reader.count)


class _Stop(Exception):
    """Reading cannot go on: a bound was breached, or what follows is another document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass
class _Frame:
    """A collection whose end has not been read."""

    is_map: bool
    start: Any
    anchor: str | None
    before: int
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: str | None = None
    key_span: Span | None = None
    height: int = 0

    @property
    def wants_key(self) -> bool:
        return self.is_map and self.key_span is None


class _Reader:
    """Builds nodes from events with a stack of its own, so that no nesting can overflow Python's."""

    def __init__(self, source: Source, shift: int) -> None:
        self.source, self.shift = source, shift
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.root: Node | None = None
        self.count = 0
        self.documents = 0
        #: Finished anchors with what they hold: the node, its number of nodes, its height.
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.handlers = {
            yaml.DocumentStartEvent: self.document,
            yaml.ScalarEvent: self.scalar,
            yaml.AliasEvent: self.alias,
            yaml.MappingStartEvent: self.open,
            yaml.SequenceStartEvent: self.open,
            yaml.MappingEndEvent: self.close,
            yaml.SequenceEndEvent: self.close,
        }

    def run(self, events: Iterator[Any]) -> None:
        for event in events:
            handler = self.handlers.get(type(event))
            if handler is not None:
                handler(event)
        if self.root is None:
            self.root = Scalar(None, Span(self.source))

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            fix = "keep one spec a file; `extends` joins files"
            raise self.stop("documents", "a second document starts here", self.span(event), fix)

    def scalar(self, event: Any) -> None:
        span = self.span(event)
        self.grow(1, span)
        self.tag(event, span)
        if self.stack and self.stack[-1].wants_key:
            self.key(event, span)
            return
        value, notes = self.resolve(event.value, span) if event.implicit[0] else (event.value, ())
        self.place(Scalar(value, span, notes), event.anchor, 1, 0)

    def resolve(self, text: str, span: Span) -> tuple[bool | int | float | str | None, tuple[str, ...]]:
        try:
            value = scalars.resolve(text)
        except ValueError as error:
            self.report("number", str(error), span)
            return None, ()
        hint = scalars.hint(text) if isinstance(value, str) else None
        return value, (hint,) if hint else ()

    def key(self, event: Any, span: Span) -> None:
        frame, key = self.stack[-1], event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = Scalar(key, span), 1, 0
        frame.key, frame.key_span = key, span
        if key == "<<" and event.implicit[0]:
            fix = "use `extends` for another file, `block` and `blocks` for layers, or *name for a whole value"
            self.report("merge-key", "merge keys are not part of a spec", span, fix)
            frame.key = None
        elif key == "":
            self.report("key", "a key is missing before this colon", span, "write `key: value`")
            frame.key = None
        elif key in frame.entries:
            first = frame.entries[key].span
            message = f"`{key}` is given twice in one map; the first is at {first}"
            self.report("duplicate-key", message, span, "remove one of the two")
            frame.key = None

    def alias(self, event: Any) -> None:
        span = self.span(event)
        wants_key = bool(self.stack) and self.stack[-1].wants_key
        if wants_key:
            self.no_key(span)
            return
        if event.anchor not in self.anchors:
            inside = any(frame.anchor == event.anchor for frame in self.stack)
            message = (
                f"*{event.anchor} stands inside what it names" if inside else f"no &{event.anchor} stands before this"
            )
            self.report("alias", message, span, suggestion=nearest(event.anchor, self.anchors))
            self.place(Scalar(None, span), None, 1, 0)
            return
        node, size, height = self.anchors[event.anchor]
        self.grow(size, span)
        if len(self.stack) + height > MAX_DEPTH:
            raise self.stop("too-deep", f"a spec nests at most {MAX_DEPTH} deep", span)
        self.place(replace(node, notes=(*node.notes, f"used as *{event.anchor} at {span}")), None, size, height)

    def open(self, event: Any) -> None:
        span = self.span(event)
        self.tag(event, span)
        self.grow(1, span)
        if len(self.stack) >= MAX_DEPTH:
            raise self.stop("too-deep", f"a spec nests at most {MAX_DEPTH} deep", span)
        self.stack.append(_Frame(isinstance(event, yaml.MappingStartEvent), event, event.anchor, self.count - 1))

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        span = self.span(frame.start, event)
        node: Node = Map(frame.entries, span) if frame.is_map else Seq(tuple(frame.items), span)
        if self.stack and self.stack[-1].wants_key:
            self.no_key(span)
        else:
            self.place(node, frame.anchor, self.count - frame.before, frame.height)

    def place(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        """Put a finished node where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = node, size, height
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.height = max(frame.height, height + 1)
        if not frame.is_map:
            frame.items.append(node)
            return
        if frame.key is not None:
            assert frame.key_span is not None
            hint = scalars.glued(frame.key) if isinstance(node, Scalar) and node.value is None else None
            frame.entries[frame.key] = Entry(frame.key, frame.key_span, node, (hint,) if hint else ())
        frame.key = frame.key_span = None

    def no_key(self, span: Span) -> None:
        frame = self.stack[-1]
        self.report("key", "a key must be a plain word", span, "if this was meant as a value, quote it")
        frame.key, frame.key_span = None, span

    def tag(self, event: Any, span: Span) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            fix = "leave the tag out; quote a number that is meant as text"
            self.report("tag", f"tags such as `{tag}` are not part of a spec", span, fix)

    def grow(self, size: int, span: Span) -> None:
        self.count += size
        if self.count > MAX_NODES:
            raise self.stop("too-large", f"a spec has at most {MAX_NODES:,} values, aliases written out", span)

    def span(self, event: Any, end: Any = None) -> Span:
        start, last = event.start_mark, (end or event).end_mark
        text = self.source.lines[start.line] if start.line < len(self.source.lines) else ""
        block = end is not None and event.flow_style is False
        column = start.column + (self.shift if start.line == 0 else 0)
        same = last.line == start.line and not block
        length = last.column - start.column if same else len(text.rstrip()) - column
        return Span(self.source, start.line + 1, column + 1, max(1, length))

    def path(self) -> tuple[str, ...]:
        steps = [frame.key if frame.is_map else str(len(frame.items)) for frame in self.stack]
        return tuple(step for step in steps if step is not None)

    def report(
        self, code: str, message: str, span: Span, fix: str | None = None, suggestion: str | None = None
    ) -> None:
        problem = Problem(code, message, self.path(), span, suggestion, fix)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop(problem)
        self.problems.append(problem)

    def stop(self, code: str, message: str, span: Span, fix: str | None = None) -> _Stop:
        return _Stop(Problem(code, message, self.path(), span, fix=fix))
