"""A tree becomes a `Spec`, or every problem it has, each at its place.

The walk follows the shapes of the sections and hands each leaf to pydantic. It is a walk of our own, because a slot's
fields follow from a name in the text, a norm left out is the enclosing one's, and one wrong field must not hide what
the rules say of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeVar

from pydantic import ValidationError

from blueprint.component import KINDS, Component, Fault, Section
from blueprint.describe import descriptions
from blueprint.diagnosis import Problem, nearest
from blueprint.registry import UnknownComponent, member, names
from blueprint.schema.expect import described
from blueprint.schema.faults import judged
from blueprint.schema.leaf import Wrong, leaf
from blueprint.schema.placing import Places, apart, as_map, elsewhere, inherited, label, placed, written
from blueprint.schema.shape import Shape, fields
from blueprint.section import WHOLE
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, find, from_plain
from blueprint.unknown import UNKNOWN

S = TypeVar("S", bound=Section)

Context = Mapping[str, Map]


def validate(root: Map, cls: type[S], broken: Collection[tuple[str, ...]] = ()) -> tuple[S | None, list[Problem]]:
    """The section `cls` that the tree says, or None and the problems; never raises for what a user wrote.

    `broken` are paths already reported (an interpolation that failed), about which nothing more is said.
    """
    walk = _Walk(root, frozenset(broken))
    value = walk.section(root, cls, (), root.span, {})
    if not walk.problems:
        return value, []
    return None, placed(walk.problems, root, walk.places)


class _Walk:
    def __init__(self, root: Map, broken: frozenset[tuple[str, ...]]) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.broken = broken
        #: How often something was not as it should be, here or before (what is broken was reported already).
        self.failures = 0
        #: By the path of a section that lies over another: keys that somebody misspelt there.
        self.guessed: dict[tuple[str, ...], set[str]] = {}

    @cached_property
    def places(self) -> Places:
        """Where everything is written; what was merged (a block into its variants) stands in several places."""
        return dict(written(self.root))

    def report(self, code: str, message: str, path: tuple[str, ...], span: Span, **more: Any) -> Any:
        self.problems.append(Problem(code, message, path, span, **more))
        self.failures += 1
        return UNKNOWN

    def value(self, node: Node, shape: Shape, path: tuple[str, ...], blame: Span, context: Context) -> Any:
        """Whatever `shape` says; `blame` is the key's span, for what is missing inside."""
        if path in self.broken:
            self.failures += 1
            return UNKNOWN
        if isinstance(node, Scalar) and node.value is None and shape.optional:
            return None
        if shape.form == "slot":
            return self.slot(node, shape, path, blame, context)
        if shape.form == "section":
            assert shape.cls is not None
            if not isinstance(node, Map):
                return self.wrong(node, "a map", path)
            return self.section(node, shape.cls, path, blame, context)
        if shape.form in ("list", "map"):
            return self.items(node, shape, path, blame, context)
        return self.leaf(node, shape.annotation, path)

    def wrong(self, node: Node, expected: str, path: tuple[str, ...], **more: Any) -> Any:
        return self.report(
            "wrong-type", f"expected {expected}, got {described(node)}", path, node.span, notes=node.notes, **more
        )

    def items(self, node: Node, shape: Shape, path: tuple[str, ...], blame: Span, context: Context) -> Any:
        """A list or a map of slots or sections."""
        assert shape.item is not None
        if shape.form == "list":
            if not isinstance(node, Seq):
                return self.wrong(node, "a list", path)
            return [self.value(n, shape.item, (*path, str(i)), n.span, context) for i, n in enumerate(node.items)]
        if not isinstance(node, Map):
            return self.wrong(node, "a map", path)
        return {k: self.value(e.value, shape.item, (*path, k), e.span, context) for k, e in node.entries.items()}

    def slot(self, node: Node, shape: Shape, path: tuple[str, ...], blame: Span, context: Context) -> Any:
        """A member of a kind: `NAME`, `{type: NAME, …}` or, where the slot takes many, a list of them."""
        if isinstance(node, Seq) and shape.many:
            one = replace(shape, many=False)
            return [self.slot(n, one, (*path, str(i)), n.span, context) for i, n in enumerate(node.items)]
        kind = shape.kind
        base = context.get(kind) if KINDS[kind].inherits else None
        node = inherited(node, base)
        if isinstance(node, Scalar) and isinstance(node.value, str):
            name, at, said = node.value, node.span, Map({}, node.span, node.notes)
        elif isinstance(node, Map):
            typed = node.get("type")
            if typed is not None and not (isinstance(typed, Scalar) and isinstance(typed.value, str)):
                return self.wrong(typed, f"the name of a {kind}: one of {', '.join(names(kind))}", (*path, "type"))
            default = shape.type_name(node)
            if default is None:
                near = next((e for k, e in node.entries.items() if nearest(k, ["type"])), None)
                if near is not None:
                    what = f"unknown key of a {kind}"
                    return self.report("unknown-key", what, (*path, near.key), near.span, suggestion="type")
                return self.report(
                    "missing-key", f"a {kind} needs a `type`: one of {', '.join(names(kind))}", path, blame
                )
            name, at, said = default, typed.span if typed else node.span, node.without("type")
        else:
            many = ", or a list of them" if shape.many else ""
            return self.wrong(node, f"a {kind}: a name, or a map with `type` ({', '.join(names(kind))}){many}", path)
        try:
            cls = member(kind, name)
        except UnknownComponent as error:
            known = ", ".join(names(kind))
            return self.report(
                "unknown-type",
                f"no {kind} is called `{name}`; there are {known}",
                (*path, "type") if isinstance(node, Map) else path,
                at,
                suggestion=error.suggestion,
                notes=node.notes,
            )
        except ValueError as error:
            return self.report("bad-component", str(error), path, at)
        return self.section(said, cls, path, blame, context)

    def section(self, node: Map, cls: type[S], path: tuple[str, ...], blame: Span, context: Context) -> Any:
        """A section or component of a known class; where something is wrong with it, what is known of it."""
        before = self.failures
        shapes = fields(cls)
        prepare = getattr(cls, "prepare", None)
        guesses, above = self.unknown_keys(node, cls, path), self.guessed.get(path, set())
        node = prepare(node) if prepare else node
        # What a side lacks because it is misspelt above was meant for it too.
        self.guessed |= {(*path, key): guesses for key, under in cls.underlay.items() if under == WHOLE}
        values: dict[str, Any] = {}
        # An inheriting kind's own slot comes first: what it says holds for everything beside and below it.
        for key in sorted(shapes, key=lambda k: not shapes[k].establishes):
            shape, entry = shapes[key], node.entries.get(key)
            if key in above:
                values[key] = UNKNOWN
                continue
            child = entry.value if entry is not None else self.absent(key, shape, cls, path, blame, context, guesses)
            if shape.establishes:
                said = child if isinstance(child, Map | Scalar) else None
                context = {**context, shape.kind: as_map(said, shape.type_name(said), blame)}
            if child is None:
                continue
            span = entry.span if entry is not None else blame
            if child is UNKNOWN:
                values[key] = UNKNOWN
                continue
            failures = self.failures
            values[key] = self.value(child, shape, (*path, key), span, context)
            if self.failures > failures and entry is not None and entry.notes:
                self.annotate((*path, key), entry)
        known = _with_defaults(cls, values)
        self.faults(node, cls, path, blame, known)
        if self.failures > before or above:
            return cls.partial(known)
        try:
            return cls.model_validate({**values})
        except ValidationError as error:
            first = error.errors()[0]
            return self.report("rule", str(first["msg"]).removeprefix("Value error, "), path, blame)

    def annotate(self, path: tuple[str, ...], entry: Entry) -> None:
        """Add where a key came from to the problems found at or below it in the same text."""
        for index, problem in enumerate(self.problems):
            here = problem.span is not None and problem.span.source is entry.span.source
            if here and problem.path[: len(path)] == path:
                merged = tuple(dict.fromkeys((*problem.notes, *entry.notes)))
                self.problems[index] = replace(problem, notes=merged)

    def unknown_keys(self, node: Map, cls: type[Section], path: tuple[str, ...]) -> set[str]:
        """Report keys the class does not have; returns the keys they were probably meant to be."""
        guesses: set[str] = set()
        known = list(fields(cls))
        # Keys that are understood before validation can be misspelt like any other.
        meant = [*known, *getattr(cls, "read_before", ()), *(["type"] if issubclass(cls, Component) else [])]
        for key, entry in node.entries.items():
            if key in known:
                continue
            # A key that the same text gives too is meant last; one inherited from another file may well be meant.
            text = {k for k, other in node.entries.items() if other.span.source == entry.span.source}
            suggestion = nearest(key, [k for k in meant if k not in text]) or nearest(key, meant)
            guesses |= {suggestion} if suggestion else set()
            what = f"unknown key of {label(cls)}"
            keys = f"the keys here are {', '.join(known)}" if known else "it has no keys"
            fix = None if suggestion else elsewhere(key, cls) or keys
            self.report(
                "unknown-key", what, (*path, key), entry.span, suggestion=suggestion, fix=fix, notes=entry.notes
            )
        return guesses

    def absent(
        self,
        key: str,
        shape: Shape,
        cls: type[Section],
        path: tuple[str, ...],
        blame: Span,
        context: Context,
        guesses: set[str],
    ) -> Any:
        """What stands where nothing was said: the inherited node, None for the field's default, or a problem."""
        if key in guesses:
            return UNKNOWN
        if shape.inherit:
            return context.get(shape.kind) or as_map(None, shape.type_name(None), blame)
        name, info = next((n, i) for n, i in cls.model_fields.items() if (i.alias or n) == key)
        if not info.is_required():
            # A slot's default is a member with norms of its own to inherit: it is read like anything said.
            if shape.form == "slot" and shape.default is not None:
                return from_plain(shape.default, blame)
            return None
        said = descriptions(cls).get(name, "")
        about = f": {said.rstrip('.')}" if said else ""
        return self.report("missing-key", f"`{key}` is required by {label(cls)}{about}", (*path, key), blame)

    def leaf(self, node: Node, annotation: Any, path: tuple[str, ...]) -> Any:
        """A value pydantic judges, strictly."""
        found = leaf(node, annotation)
        if not isinstance(found, Wrong):
            return found
        at, where = (*path, *found.steps), found.where
        return self.report("wrong-value", found.message, at, where.span, suggestion=found.meant, notes=where.notes)

    def faults(self, node: Map, cls: type[Section], path: tuple[str, ...], blame: Span, values: dict[str, Any]) -> None:
        """Run the rules on what is known, and the site rules of a class that has them."""
        for each in cls.rules():
            # Whichever of the fields was overridden or inherited may be the one that is wrong.
            entries = [node.entries[name] for name in each.reads if name in node.entries]
            notes = tuple(note for entry in entries for note in (*entry.notes, *entry.value.notes))
            for fault in judged(partial(each.faults, values)):
                self.fault(node, path, blame, fault, (*notes, *apart(entries, fault.at, self.places)))
        site = getattr(cls, "site_faults", None)
        for fault in judged(partial(site, values)) if site else ():
            self.fault(node, path, blame, fault)

    def fault(self, node: Map, path: tuple[str, ...], blame: Span, fault: Fault, notes: tuple[str, ...] = ()) -> None:
        """Place a fault at the value it names, else at the nearest key above it."""
        steps = tuple((fault.at or "").split(".")) if fault.at else ()
        reached, entry, taken = find(node, steps)
        whole = taken == len(steps) and isinstance(reached, Scalar | Seq)
        # An item of a list has no key to point at: it is its own place.
        item = taken > 0 and entry is None
        span = reached.span if whole or item else entry.span if entry is not None else blame
        notes = (*(entry.notes if entry else ()), *reached.notes, *notes)
        self.report(
            "rule",
            fault.message,
            (*path, *steps),
            span,
            fix=fault.fix,
            suggestion=fault.suggestion,
            notes=tuple(dict.fromkeys(notes)),
        )


def _with_defaults(cls: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is known by field name, defaults included, for rules."""
    out: dict[str, Any] = {}
    for name, info in cls.model_fields.items():
        known = values.get(info.alias or name, ...)
        if known is ... and not info.is_required():
            known = info.get_default(call_default_factory=True, validated_data={})
        if known is not ... and known is not UNKNOWN:
            out[name] = known
    return out
