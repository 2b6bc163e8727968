"""`${model.d_model}` and `${calc:'4 * model.d_model'}`: values said once and used elsewhere.

OmegaConf puts the values in, one string at a time. What a string refers to is found and bounded here first, because
OmegaConf bounds neither size nor depth, and so that every mistake is shown where it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from blueprint.arithmetic import ArithmeticFault, parse
from blueprint.diagnosis import Problem, nearest
from blueprint.load.expression import ExpressionFault, Part, parts
from blueprint.load.notes import rewritten
from blueprint.load.reader import MAX_DEPTH
from blueprint.tree import Map, Node, Scalar, Seq, Span, leaves

MAX_EXPRESSIONS = 2_000
MAX_CHAIN = 30
MAX_TEXT = 100_000
MAX_TOTAL = 1_000_000
MAX_COPIED = 50_000

Path = tuple[str, ...]
_CODE = "interpolation"
_LITERAL = re.compile(r"(\\*)\$\{")


@dataclass(frozen=True)
class Interpolated:
    """The tree with every `${…}` replaced; `broken` are the leaves that could not be, and still hold their text."""

    root: Map
    problems: list[Problem]
    broken: frozenset[Path]


def interpolate(root: Map) -> Interpolated:
    """Replace every `${…}`; a result keeps the place of its expression and, standing alone, the type it refers to."""
    found = {path: leaf for path, leaf in leaves(root) if _is_expression(leaf)}
    if not found:
        return Interpolated(root, [], frozenset())
    if len(found) > MAX_EXPRESSIONS:
        span = list(found.values())[MAX_EXPRESSIONS].span
        problem = Problem(_CODE, f"a spec has at most {MAX_EXPRESSIONS:,} values with ${{…}}", span=span)
        return Interpolated(root, [problem], frozenset(found))
    resolver = _Resolver(root)
    for path, leaf in found.items():
        resolver.settle(path, leaf)
    out = resolver.rebuilt(root, ())
    assert isinstance(out, Map)
    return Interpolated(out, resolver.problems, frozenset(resolver.broken))


def _is_expression(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value


class _Broken(Exception):
    """An expression that has no value; `problem` is None where what it refers to was reported already."""

    def __init__(self, problem: Problem | None = None) -> None:
        super().__init__()
        self.problem = problem


class _Resolver:
    """Resolves expressions as they are asked for, each once."""

    def __init__(self, root: Map) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.broken: set[Path] = set()
        self.results: dict[Path, Node] = {}
        #: The expressions being resolved, each asked for by the one before.
        self.active: list[Path] = []
        self.written = self.copied = 0

    def settle(self, path: Path, leaf: Scalar) -> Node | None:
        """The value of the expression at `path`, or None where it has none, which is then reported."""
        if path in self.broken:
            return None
        if path not in self.results:
            self.active.append(path)
            try:
                self.results[path] = self.value(path, leaf)
            except _Broken as broken:
                self.broken.add(path)
                if broken.problem is not None:
                    self.problems.append(replace(broken.problem, path=path, notes=leaf.notes))
                return None
            finally:
                self.active.pop()
        return self.results[path]

    def value(self, path: Path, leaf: Scalar) -> Node:
        text = str(leaf.value)
        try:
            found = parts(text)
        except ExpressionFault as fault:
            span = _within(leaf, fault.offset, fault.length)
            raise _Broken(Problem(_CODE, str(fault), span=span, fix=fault.fix)) from None
        whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(text))
        if whole and not found[0].calc:
            node = self.lookup(found[0].text, path, leaf, found[0])
            if not isinstance(node, Scalar):
                self.weigh(node, len(path), leaf, found[0])
                notes = (*leaf.notes, f"from {text}, written at {node.span}")
                return rewritten(node, lambda span, old: (leaf.span, notes))
        return Scalar(self.text(text, found, path, leaf), leaf.span, (*leaf.notes, f"from {text}"))

    def text(self, text: str, found: tuple[Part, ...], path: Path, leaf: Scalar) -> Any:
        """What OmegaConf makes of a string, handed nothing but the values it names, under names without dots."""
        values: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        written = len(text)

        def named(part: Part) -> str:
            nonlocal written
            node = self.lookup(part.text, path, leaf, part)
            if not isinstance(node, Scalar):
                kind = "a map" if isinstance(node, Map) else "a list"
                raise self.wrong(f"`{part.text}` is {kind}, which has no place inside a text", leaf, part)
            written += len(node.value) if isinstance(node.value, str) else 30
            if written > MAX_TEXT:
                raise self.wrong(f"the result would be longer than {MAX_TEXT:,} characters", leaf, part)
            values[f"v{len(values)}"] = node.value
            return f"${{v{len(values) - 1}}}"

        def calculated(part: Part) -> str:
            said = _joined(part.text, part.inner, part.text_start, lambda inner: f"({named(inner)})")
            plain = _joined(part.text, part.inner, part.text_start, lambda inner: "(1)")
            try:
                names = parse(plain).names
            except ArithmeticFault as fault:
                raise self.wrong(str(fault), leaf, part) from None
            for name in names:
                node = self.lookup(name, path, leaf, part)
                numbers[name] = node.value if isinstance(node, Scalar) else None
            return f"${{blueprint.calc:'{said}'}}"

        handed = _joined(text, found, 0, lambda part: calculated(part) if part.calc else named(part))
        self.written += written
        if self.written > MAX_TOTAL:
            raise self.wrong(f"${{…}} would write more than {MAX_TOTAL:,} characters in all", leaf, found[0])
        try:
            return _resolve(handed, values, numbers)
        except ArithmeticFault as fault:
            raise self.wrong(str(fault), leaf, next(part for part in found if part.calc)) from None
        except ValueError as error:
            raise _Broken(Problem(_CODE, f"this cannot be resolved: {error}", span=leaf.span)) from None

    def lookup(self, name: str, path: Path, leaf: Scalar, part: Part) -> Node:
        """The settled node that an expression at `path` means by `name`, a path from the top or, with dots, from it."""
        bare = name.lstrip(".")
        up = len(name) - len(bare)
        if up > len(path):
            raise self.wrong(f"`{name}` leads above the top of the spec", leaf, part)
        steps = (path[:-up] if up else ()) + tuple(bare.replace("[", ".").replace("]", "").split("."))
        node: Node = self.root
        settled = False
        for taken in range(len(steps) + 1):
            if not settled and _is_expression(node):
                assert isinstance(node, Scalar)
                node, settled = self.other(steps[:taken], node, name, leaf, part), True
            if taken < len(steps):
                node = self.step(node, steps, taken, leaf, part)
        return node if settled or isinstance(node, Scalar) else self.whole(node, steps, name, leaf, part)

    def step(self, node: Node, steps: Path, taken: int, leaf: Scalar, part: Part) -> Node:
        """The child of `node` that the step after `taken` names."""
        key = steps[taken]
        if isinstance(node, Map) and key in node.entries:
            return node.entries[key].value
        if isinstance(node, Seq) and key.isdecimal() and len(key) < 7 and int(key) < len(node.items):
            return node.items[int(key)]
        said = ".".join(steps[: taken + 1])
        if isinstance(node, Map):
            meant = nearest(key, node.entries)
            suggestion = ".".join([*steps[:taken], meant, *steps[taken + 1 :]]) if meant else None
            fix = None if meant else "say it in the spec; a default that is not written has no name here"
            raise self.wrong(f"`{said}` is not said in this spec", leaf, part, suggestion, fix)
        above = ".".join(steps[:taken])
        what = f"a list of {len(node.items)}" if isinstance(node, Seq) else f"`{node.value}`"
        raise self.wrong(f"`{above}` is {what}, which has no `{key}`", leaf, part)

    def other(self, at: Path, node: Scalar, name: str, leaf: Scalar, part: Part) -> Node:
        """The value of another expression that this one needs."""
        if at in self.active:
            circle = [".".join(each) for each in [*self.active[self.active.index(at) :], at]]
            raise self.wrong(f"this goes in a circle: {' needs '.join(circle)}", leaf, part)
        if len(self.active) >= MAX_CHAIN:
            raise self.wrong(f"values refer to each other at most {MAX_CHAIN} deep", leaf, part)
        value = self.settle(at, node)
        if value is None:
            raise _Broken()
        return value

    def whole(self, node: Node, at: Path, name: str, leaf: Scalar, part: Part) -> Node:
        """A map or list with every expression in it resolved."""
        for path, inner in leaves(node, at):
            self.copy(leaf, part)
            if _is_expression(inner):
                self.other(path, inner, name, leaf, part)
        return self.rebuilt(node, at)

    def weigh(self, node: Node, depth: int, leaf: Scalar, part: Part) -> None:
        """Count what a copy will hold before it is made: results share their parts, copies do not."""
        stack = [(node, depth)]
        while stack:
            inner, depth = stack.pop()
            self.copy(leaf, part)
            if depth > MAX_DEPTH:
                raise self.wrong(f"with what ${{…}} copies, the spec would nest more than {MAX_DEPTH} deep", leaf, part)
            if isinstance(inner, Map):
                stack += [(entry.value, depth + 1) for entry in inner.entries.values()]
            elif isinstance(inner, Seq):
                stack += [(item, depth + 1) for item in inner.items]

    def copy(self, leaf: Scalar, part: Part) -> None:
        self.copied += 1
        if self.copied > MAX_COPIED:
            raise self.wrong(f"${{…}} would copy more than {MAX_COPIED:,} values", leaf, part)

    def rebuilt(self, node: Node, path: Path) -> Node:
        """The tree with the results so far put in."""
        if isinstance(node, Map):
            entries = {k: replace(e, value=self.rebuilt(e.value, (*path, k))) for k, e in node.entries.items()}
            return replace(node, entries=entries)
        if isinstance(node, Seq):
            return replace(node, items=tuple(self.rebuilt(item, (*path, str(i))) for i, item in enumerate(node.items)))
        return self.results.get(path, node)

    def wrong(
        self, message: str, leaf: Scalar, part: Part, suggestion: str | None = None, fix: str | None = None
    ) -> _Broken:
        span = _within(leaf, part.start, part.end - part.start)
        return _Broken(Problem(_CODE, message, span=span, suggestion=suggestion, fix=fix))


def _joined(text: str, found: tuple[Part, ...], shift: int, write: Callable[[Part], str]) -> str:
    """`text`, which starts `shift` characters into the string the parts count in, with each part written anew."""
    out, last = "", 0
    for part in found:
        out += text[last : part.start - shift] + write(part)
        last = part.end - shift
    return out + text[last:]


def _within(leaf: Scalar, offset: int, length: int) -> Span:
    """The place of a piece of a leaf's text, or the leaf's where the text stands there in another form."""
    at = leaf.span.text.find(str(leaf.value), leaf.span.column - 1)
    return replace(leaf.span, column=at + 1 + offset, length=length) if at >= 0 else leaf.span


@cache
def _omegaconf() -> Any:
    """OmegaConf with our one resolver; imported here because it costs a third of a check."""
    from omegaconf import OmegaConf

    def calc(text: str, *, _root_: Any) -> Any:
        names: Any = OmegaConf.to_container(_root_.numbers)
        value = parse(text).evaluate(names)
        # A whole result counts as a whole number: 4 * 256 / 2 is a width.
        return int(value) if isinstance(value, float) and value.is_integer() and math.fabs(value) < 2**53 else value

    register = getattr(OmegaConf, "register_resolver", None) or OmegaConf.register_new_resolver
    register("blueprint.calc", calc, replace=True)
    return OmegaConf


def _resolve(text: str, values: dict[str, Any], numbers: dict[str, Any]) -> Any:
    """The one door to OmegaConf: `text` with `${v0}`, … and `${blueprint.calc:…}` resolved.

    Raises `ArithmeticFault` for arithmetic without a value, ValueError for anything else OmegaConf refuses.
    """
    omegaconf = _omegaconf()
    config = omegaconf.create({"numbers": numbers})
    for name, value in values.items():
        # Text that is a value already must not be resolved again.
        config[name] = _LITERAL.sub(r"\1\1\\${", value) if isinstance(value, str) else value
    config["text"] = text
    try:
        return omegaconf.select(config, "text", throw_on_missing=True)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ArithmeticFault):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise ValueError(str(error).splitlines()[0]) from None
