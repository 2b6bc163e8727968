"""A family's template filled from a config: a spec, whose faults point into the family file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from blueprint.diagnosis import Problem, SpecError, nearest
from blueprint.interop.compress import gathered
from blueprint.interop.config import Config, FamilyError
from blueprint.interop.env import Env
from blueprint.interop.expression import ExpressionFault, said, truth
from blueprint.interop.family import Family
from blueprint.interop.view import View
from blueprint.interop.write_spec import spec_text
from blueprint.plan import Plan
from blueprint.plan import plan as planned
from blueprint.schema.spec import Spec
from blueprint.schema.validate import validate
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, from_plain, plain

#: What leaves a key out, wherever it stands.
OMIT = "$omit"
IF, CASE, USE, EACH, THEN, ELSE = "$if", "$case", "$use", "$each", "then", "else"
#: How deep templates may use each other.
MAX_USES = 20
#: How often, in all layers together.
MAX_PIECES = 50_000
MAX_LAYERS = 2000
#: What says that layers differ; a template that says it itself is not filled layer by layer.
_DIFFER = ("blocks", "pattern", "overrides")


@dataclass(frozen=True)
class Filled:
    """A family's template filled from one config."""

    family: Family
    config: Config
    spec: Spec
    env: Env
    ignore: tuple[str, ...] = ()

    @cached_property
    def plan(self) -> Plan:
        """The plan of the spec."""
        return planned(self.spec)

    @cached_property
    def text(self) -> str:
        """The spec as a person would write it: every layer once and nothing that would be there anyway."""
        return spec_text(self.spec, self.plan, f"From {self.config.source.name}, by the family `{self.family.name}`.")

    def check_used(self) -> None:
        """Raise FamilyError with every field of the config that was read by nothing and is not known to be inert.

        To be asked once the rules for tensors have been read, too.
        """
        problems = list(self.env.view.unused(self.family.inert, self.ignore))
        if problems:
            raise FamilyError(problems)


def fill(family: Family, config: Config, ignore: Sequence[str] = ()) -> Filled:
    """Fill a family's template; raises FamilyError with what is wrong, at its place in the family file."""
    holder: list[Env] = []
    view = View(config, family.defaults, family.aliases, lambda node: holder[0].value_of(node))
    env = Env(view, family.let)
    holder.append(env)
    for key in family.match.entries:
        view.touch(tuple(key.split(".")))
    filling = _Filling(family.templates)
    model = filling.kept(family.model, env, None)
    if filling.problems:
        raise FamilyError(filling.problems)
    span = family.root.span
    name = from_plain(family.name, span)
    root = Map({"name": Entry("name", span, name)}, span)
    if model is not None:
        root = root.with_entry(Entry("model", family.root.entries["model"].span, model))
    spec, problems = validate(root, Spec)
    if spec is None:
        raise FamilyError(problems)
    spec._root = root
    try:
        filled = Filled(family, config, spec, env, tuple(ignore))
        _ = filled.plan
    except FamilyError:
        raise
    except SpecError as error:
        raise FamilyError(error.problems) from None
    return filled


class _Filling:
    """Walks a template; None stands for what is left out."""

    def __init__(self, templates: Map) -> None:
        self.templates = templates
        self.uses: list[tuple[str, Span]] = []
        self.pieces = 0
        self.problems: list[Problem] = []

    def node(self, node: Node, env: Env, layers: int | None) -> Node | None:
        """A node filled; `layers` is the depth that holds for a `block` here, if one is known."""
        if isinstance(node, Map):
            if IF in node.entries or CASE in node.entries:
                chosen = self.choice(node, env)
                return None if chosen is None else self.node(chosen, env, layers)
            if USE in node.entries:
                return self.use(node, env, layers)
            if EACH in node.entries:
                return self.each(node, env, layers)
            return self.map(node, env, layers)
        if isinstance(node, Seq):
            items = [self.node(item, env, layers) for item in node.items]
            return replace(node, items=tuple(item for item in items if item is not None))
        return self.scalar(node, env)

    def scalar(self, node: Scalar, env: Env) -> Node | None:
        if node.value == OMIT:
            return None
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        env.reads.clear()
        value = env.value_of(node)
        if value == OMIT:
            return None
        return from_plain(value, node.span, (*node.notes, *env.reads))

    def map(self, node: Map, env: Env, layers: int | None) -> Map:
        entries: dict[str, Entry] = {}
        said_layers = node.entries.get("layers")
        if said_layers is not None:
            depth = self.node(said_layers.value, env, None)
            layers = self.depth(depth) if depth is not None else layers
        by_layer = layers is not None and "block" in node.entries and not any(key in node.entries for key in _DIFFER)
        for key, entry in node.entries.items():
            if key.startswith("$"):
                raise self.unknown(entry)
            if key == "block" and by_layer:
                assert layers is not None
                every = (self.kept(entry.value, env.with_(i=index, n=layers), None) for index in range(layers))
                blocks = [Map({}, entry.span) if block is None else block for block in every]
                entries |= gathered(blocks, entry.span, shared="share" in node.entries)
                continue
            # Inside a block, `block` is a word like any other.
            filled = self.kept(entry.value, env, layers if key != "block" else None)
            if filled is not None:
                entries[key] = replace(entry, value=filled)
        return replace(node, entries=entries)

    def kept(self, node: Node, env: Env, layers: int | None) -> Node | None:
        """A node filled; what is wrong with it is kept for the end, so that its neighbours are judged as well."""
        try:
            return self.node(node, env, layers)
        except FamilyError as error:
            self.problems += [self.placed(problem) for problem in error.problems]
            return None

    def placed(self, problem: Problem) -> Problem:
        notes = [f"in the template `{name}`, used at {span}" for name, span in reversed(self.uses)]
        return replace(problem, notes=(*problem.notes, *notes))

    def each(self, node: Map, env: Env, layers: int | None) -> Node:
        """A list with what `$each` comes to in every layer."""
        entry = node.entries[EACH]
        if layers is None or len(node.entries) > 1:
            what = "stands alone" if layers is not None else "stands beside `layers`, or below it"
            raise _fault(f"`{EACH}` makes a list with an item for every layer: it {what}", entry)
        values = [env.with_(i=index, n=layers).value(entry.value) for index in range(layers)]
        return from_plain(values, entry.value.span)

    def depth(self, node: Node) -> int | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            # Validation says so, with the place.
            return None
        if value > MAX_LAYERS:
            message = f"a stack has at most {MAX_LAYERS:,} layers, this one {value:,}"
            raise FamilyError([Problem("too-large", message, ("layers",), node.span, notes=node.notes)])
        return value

    def choice(self, node: Map, env: Env) -> Node | None:
        """What `$if` or `$case` chooses; what is not chosen counts as read, as the choice has said it has no effect."""
        ask = IF if IF in node.entries else CASE
        if ask == IF:
            known = (IF, THEN, ELSE)
            for key, entry in node.entries.items():
                if key not in known:
                    message = f"`{IF}` goes with `{THEN}` and `{ELSE}`, not with `{key}`"
                    raise _fault(message, entry, suggestion=nearest(key, known))
            if THEN not in node.entries:
                raise _fault(f"`{IF}` needs `{THEN}`", node.entries[IF])
        env.reads.clear()
        entry = node.entries[ask]
        value = env.value(entry.value)
        if ask == IF:
            try:
                chosen = THEN if truth(value) else ELSE
            except ExpressionFault as fault:
                raise _fault(str(fault), entry, fix=fault.fix, notes=tuple(env.reads), at_value=True) from None
        else:
            chosen = self.option(node, value, env)
        for key, other in node.entries.items():
            if key not in (ask, chosen):
                self.skip(other.value, env)
        return node.entries[chosen].value if chosen in node.entries else None

    def skip(self, node: Node, env: Env, deep: int = 0) -> None:
        """Count as read what a node would read, pieces from `templates` and what it asks itself included."""
        if isinstance(node, Seq):
            for item in node.items:
                self.skip(item, env, deep)
        elif isinstance(node, Scalar):
            env.skip(node)
        elif USE in node.entries:
            piece = self.templates.get(str(plain(node.entries[USE].value)))
            if piece is not None and deep < MAX_USES:
                self.count(node.entries[USE])
                self.skip(piece, env.with_(**_given(node, env)), deep + 1)
        else:
            for key, entry in node.entries.items():
                if key in (IF, CASE, EACH):
                    env.skip(entry.value, bare=True)
                else:
                    self.skip(entry.value, env, deep)

    def use(self, node: Map, env: Env, layers: int | None) -> Node | None:
        """A piece from `templates`, in which the other keys are names for what is said under them."""
        entry = node.entries[USE]
        name = entry.value.value if isinstance(entry.value, Scalar) else None
        piece = self.templates.get(str(name))
        if piece is None:
            known = list(self.templates.entries)
            raise _fault(f"no template is called `{name}`", entry, suggestion=nearest(str(name), known), at_value=True)
        if len(self.uses) >= MAX_USES:
            raise _fault(f"templates use each other at most {MAX_USES} deep", entry)
        self.count(entry)
        self.uses.append((str(name), entry.span))
        filled = self.kept(piece, env.with_(**_given(node, env)), layers)
        self.uses.pop()
        return filled

    def count(self, entry: Entry) -> None:
        """Count a piece that is put in its place: a few lines could ask for any number."""
        self.pieces += 1
        if self.pieces > MAX_PIECES:
            raise _fault(f"templates are used at most {MAX_PIECES:,} times in one model", entry)

    def option(self, node: Map, value: object, env: Env) -> str:
        options = [key for key in node.entries if key not in (CASE, ELSE)]
        word = value if isinstance(value, str) else said(value)
        if word in options:
            return word
        if ELSE in node.entries:
            return ELSE
        entry = node.entries[CASE]
        message = f"{said(value)} is none of the options: {', '.join(options)}"
        fix = f"add an option, or `{ELSE}:` (`{OMIT}` leaves the key out)"
        raise _fault(message, entry, fix=fix, notes=tuple(env.reads), at_value=True)

    def unknown(self, entry: Entry) -> FamilyError:
        known = (IF, CASE, USE, EACH)
        return _fault(f"`{entry.key}` is no word of templates", entry, suggestion=nearest(entry.key, known), fix=None)


def _given(node: Map, env: Env) -> dict[str, object]:
    """What the names of a piece from `templates` stand for."""
    return {key: env.bound(entry.value) for key, entry in node.entries.items() if key != USE}


def _fault(
    message: str,
    entry: Entry,
    *,
    suggestion: str | None = None,
    fix: str | None = None,
    notes: tuple[str, ...] = (),
    at_value: bool = False,
) -> FamilyError:
    span = entry.value.span if at_value else entry.span
    return FamilyError([Problem("template", message, span=span, suggestion=suggestion, fix=fix, notes=notes)])
