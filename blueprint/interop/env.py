"""Where the expressions of a family get their names from, and faults in them get their place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blueprint.diagnosis import Problem, nearest
from blueprint.interop.config import FamilyError, Path_
from blueprint.interop.expression import Expression, ExpressionFault, Missing, Name, parse, said
from blueprint.interop.view import View, dotted
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, leaves

HF = "hf"
_OPEN = "${"
#: How deep `let` names may need each other.
MAX_CHAIN = 50
MAX_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class Bound:
    """A name that stands for a path, so that what it holds is read leaf by leaf: `rope` for `hf.rope_parameters`."""

    path: Path_


@dataclass
class Env:
    """The names an expression may use: `hf.…`, those of `let`, and what `with_` adds (`i`, `n`, `e`).

    Every value read is remembered in the view, which all environments of a filling share. Methods raise `FamilyError`
    with the fault's place in the family file.
    """

    view: View
    let: Map
    names: Mapping[str, Any] = field(default_factory=dict)
    #: What was read since somebody last asked, in words.
    reads: list[str] = field(default_factory=list)
    _values: dict[str, Any] = field(default_factory=dict)
    _chain: tuple[str, ...] = ()

    def with_(self, **names: Any) -> Env:
        """An environment with more names, of letters or words (`i=3`, `base="model."`)."""
        return replace(self, names={**self.names, **names}, _values={})

    def bound(self, node: Node) -> Any:
        """What a name stands for that is bound to the expression of a scalar: a path, or else a value."""
        if isinstance(node, Scalar) and isinstance(node.value, str) and _OPEN not in node.value:
            try:
                tree = parse(node.value).tree
                if isinstance(tree, Name) and tree.steps[0] not in self.let.entries:
                    path = tree.path(self)
                    return self.names[path[0]] if path in [(name,) for name in self.names] else Bound(path)
            except ExpressionFault as fault:
                raise self._located(node, fault, 0) from None
        return self.value(node)

    # What expressions ask (`blueprint.interop.expression.Scope`).

    def look(self, path: Path_) -> Any:
        """The value of a path; raises `Missing`."""
        path = self.meant(path)
        first, rest = str(path[0]), path[1:]
        if first == HF and rest:
            value, words = self.view.get(rest)
            if words not in self.reads:
                self.reads.append(words)
            return value
        if first in self.names:
            return _inside(self.names[first], path)
        if first in self.let.entries:
            return _inside(self._let(first), path)
        raise self._unknown(path)

    def said(self, path: Path_) -> bool:
        """Whether a path has a value of its own: a config's field that the config says, or a name that is not null."""
        path = self.meant(path)
        if path[0] == HF:
            return self.view.said(path[1:])
        try:
            return self.look(path) is not None
        except Missing:
            return False

    def meant(self, path: Path_) -> Path_:
        """A path with its first name replaced by the path that stands for."""
        bound = self.names.get(str(path[0]))
        return (*bound.path, *path[1:]) if isinstance(bound, Bound) else path

    def _let(self, name: str) -> Any:
        if name in self._chain:
            raise Missing(f"this goes in a circle: {' needs '.join([*self._chain, name])}")
        if len(self._chain) >= MAX_CHAIN:
            raise Missing(f"names need each other at most {MAX_CHAIN} deep")
        if name not in self._values:
            inner = replace(self, _chain=(*self._chain, name))
            self._values[name] = inner.value_of(self.let.entries[name].value)
        return self._values[name]

    def _unknown(self, path: Path_) -> Missing:
        name = str(path[0])
        known = [*self.names, *self.let.entries, HF]
        if name in ("i", "n"):
            return Missing(f"`{name}` has a value inside `block` alone, where every layer is filled by itself")
        if name in self.view.config.plain:
            return Missing(f"`{name}` has no value here", suggestion=f"{HF}.{dotted(path)}")
        meant = nearest(name, known)
        fix = f"fields of the config begin with `{HF}.`, other names are said under `let`"
        return Missing(f"`{name}` has no value here", suggestion=meant, fix=fix)

    # What the parts of a family ask.

    def value(self, node: Node) -> Any:
        """The value of a scalar that holds an expression as it is (`when: hf.bias`), `${…}`, or a plain value."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or _OPEN in node.value:
            return self.value_of(node)
        return self.text(node, node.value)

    def text(self, node: Scalar | Entry, text: str, offset: int = 0) -> Any:
        """The value of the expression `text`, which stands `offset` characters into a scalar or a key."""
        try:
            return self._evaluate(parse(text))
        except ExpressionFault as fault:
            raise self._located(node, fault, offset) from None

    def value_of(self, node: Node) -> Any:
        """The value of a node in which `${…}` is worked out and everything else means itself."""
        if isinstance(node, Map):
            return {key: self.value_of(entry.value) for key, entry in node.entries.items()}
        if isinstance(node, Seq):
            return [self.value_of(item) for item in node.items]
        if not isinstance(node.value, str) or _OPEN not in node.value:
            return node.value
        try:
            return self._pasted(node.value)
        except ExpressionFault as fault:
            raise self._located(node, fault, 0) from None

    def _pasted(self, text: str) -> Any:
        found = list(expressions(text))
        if len(found) == 1 and found[0][0] == 0 and found[0][1] == len(text):
            return self._evaluate(found[0][2])
        out, last = "", 0
        for start, end, expression in found:
            value = self._evaluate(expression)
            if isinstance(value, list | dict):
                raise ExpressionFault(f"{said(value)} has no place inside a text", start, end - start)
            out += text[last:start] + (value if isinstance(value, str) else said(value))
            last = end
            if len(out) > MAX_TEXT:
                raise ExpressionFault(f"the result would be longer than {MAX_TEXT:,} characters", start, end - start)
        return out + text[last:]

    def skip(self, node: Node, *, bare: bool = False) -> None:
        """Count what the expressions of a node mention as read: a choice has said that it is without effect.

        `bare` takes texts for expressions as they are, as `value` does.
        """
        for _, leaf in leaves(node):
            if not isinstance(leaf.value, str) or not (bare or _OPEN in leaf.value):
                continue
            try:
                whole = bare and _OPEN not in leaf.value
                found = [parse(leaf.value)] if whole else [each for _, _, each in expressions(leaf.value)]
            except ExpressionFault as fault:
                raise self._located(leaf, fault, 0) from None
            for expression in found:
                self._touch(expression, set())

    def _evaluate(self, expression: Expression) -> Any:
        """The value; what is mentioned in parts that did not decide it counts as read, too."""
        value = expression.evaluate(self)
        self._touch(expression, set())
        return value

    def _touch(self, expression: Expression, seen: set[str]) -> None:
        quiet = replace(self, reads=[])
        for name in expression.names():
            first = str(name.steps[0])
            if first == HF or isinstance(self.names.get(first), Bound):
                try:
                    name.evaluate(quiet)
                except ExpressionFault:
                    # Nothing is there, or which part of it is meant is not known here.
                    fixed = itertools.takewhile(lambda step: isinstance(step, str), name.steps)
                    self.view.touch(self.meant(tuple(map(str, fixed)))[1:])
            elif first in self.let.entries and first not in self.names and first not in seen:
                # Once each: names may need each other in more ways than can be gone.
                seen.add(first)
                for _, leaf in leaves(self.let.entries[first].value):
                    text = leaf.value if isinstance(leaf.value, str) else ""
                    for _, _, inner in expressions(text):
                        self._touch(inner, seen)

    def _located(self, node: Scalar | Entry, fault: ExpressionFault, offset: int) -> FamilyError:
        text = node.key if isinstance(node, Entry) else str(node.value)
        span = within(node.span, text, offset + fault.offset, fault.length)
        notes = tuple(self.reads)
        return FamilyError(
            [Problem("expression", str(fault), span=span, suggestion=fault.suggestion, fix=fault.fix, notes=notes)]
        )


def _inside(value: Any, path: Path_) -> Any:
    for count, step in enumerate(path[1:], 1):
        if isinstance(value, dict) and str(step) in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            meant = nearest(str(step), value) if isinstance(value, dict) else None
            raise Missing(f"`{dotted(path[:count])}` is {said(value)}, which has no `{step}`", suggestion=meant)
    return value


def expressions(text: str) -> Iterator[tuple[int, int, Expression]]:
    """The `${…}` of a text, each with where it starts and ends; raises `ExpressionFault`."""
    start = text.find(_OPEN)
    while start >= 0:
        expression = parse(text, start + len(_OPEN), "}")
        yield start, expression.end + 1, expression
        start = text.find(_OPEN, expression.end + 1)


def within(span: Span, text: str, offset: int, length: int) -> Span:
    """The place of a piece of a text that stands at `span`, or the whole where it stands there in another form."""
    at = span.text.find(text, span.column - 1)
    return replace(span, column=at + 1 + offset, length=max(1, length)) if at >= 0 and text else span
