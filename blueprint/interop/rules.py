"""The `weights:` of a family: which tensors of a file are which of ours, bound to the names of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from blueprint.diagnosis import Problem, nearest
from blueprint.interop import outline
from blueprint.interop.config import FamilyError
from blueprint.interop.env import Env
from blueprint.interop.family import Family
from blueprint.interop.names import Hole, Template, fault, general, problem, templates
from blueprint.interop.pattern import RearrangeFault, Rearrangement
from blueprint.interop.pattern import parse as parse_operator
from blueprint.tree import Entry, Map, Node, Scalar, Seq, plain

Layout = Mapping[str, str]
#: Names of ours that the rules of a family speak of: every one is held against every tensor.
MAX_NAMES = 2000


@dataclass(frozen=True)
class Rule:
    """A rule: our names, theirs, and how they differ; `order` is its place in the file."""

    entry: Entry
    ours: tuple[Template, ...]
    theirs: tuple[Template, ...]
    operator: Rearrangement | None = None
    as_: Scalar | None = None
    when: Scalar | None = None
    sizes: Map | None = None
    #: Whether a family that is extended says it.
    inherited: bool = False

    def fix(self, otherwise: str) -> str:
        """What to do about a rule that is not for a checkpoint: where it stands, or in the family that inherits it."""
        if not self.inherited:
            return otherwise
        return f"say the rule anew in the family that extends this one, or `{self.entry.key}: null` to take it away"

    @property
    def source(self) -> Scalar | Entry:
        """Where the rule speaks of theirs."""
        return self.theirs[0].node

    @cached_property
    def groups(self) -> list[tuple[tuple[Template, ...], tuple[Template, ...]]]:
        """Ours and theirs that go together: all of them by an operator, else one by one."""
        if self.operator is None:
            return [((ours,), (theirs,)) for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return [(self.ours, self.theirs)]


@dataclass(frozen=True)
class Bound:
    """A rule for particular tensors: names of ours, and templates of theirs with all filled in but `stacked`.

    `stacked` is the letter of theirs that ours have not: tensors of all its values lie one upon the other in ours.
    """

    rule: Rule
    env: Env
    ours: tuple[str, ...]
    theirs: tuple[Template, ...]
    stacked: str | None

    def names(self, index: int, number: int | None = None) -> str:
        """A name of theirs, `number` standing for the stacked letter."""
        bare = self.theirs[index].filled(lambda hole: number if hole.letter == self.stacked else f"{{{hole.text}}}")
        return bare


@dataclass
class Rules:
    """Everything a family says of tensors."""

    family: Family
    rules: list[Rule] = field(default_factory=list)
    tied: list[tuple[Template, Template]] = field(default_factory=list)
    drop: list[Template] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=lambda: [{}])


def read_rules(family: Family) -> Rules:
    """Read what a family says of tensors; raises FamilyError with everything that cannot be read."""
    found, problems, names = Rules(family), list[Problem](), 0
    if family.layouts is not None:
        found.layouts = [_layout(item) for item in family.layouts.items] or [{}]
    for _, entry in outline.alternatives(family.weights):
        try:
            inherited = entry.span.source.name != family.root.span.source.name
            found.rules.append(replace(_rule(entry), inherited=inherited))
            names += len(found.rules[-1].ours)
        except FamilyError as error:
            problems += error.problems
        if max(names, len(problems)) > MAX_NAMES:
            fix = "letters such as `{i}` stand for numbers"
            raise fault("weights", f"the rules of a family are for at most {MAX_NAMES:,} names", entry, fix=fix)
    for entry in family.tied.entries.values():
        try:
            copies, originals = templates(entry), templates(_text(entry.value, "the name of another tensor of theirs"))
            if len(originals) == 1:
                originals *= len(copies)
            if len(copies) != len(originals):
                raise fault("weights", f"{len(copies)} names stand beside {len(originals)}", entry)
            _ = [template.laid(found.layouts[0]).letters for template in copies]
            found.tied += zip(copies, originals, strict=True)
        except FamilyError as error:
            problems += error.problems
    for entry in family.drop.entries.values():
        try:
            found.drop += templates(entry)
        except FamilyError as error:
            problems += error.problems
    if problems:
        raise FamilyError(problems)
    return found


def _rule(entry: Entry) -> Rule:
    value = entry.value
    parts = value.entries if isinstance(value, Map) else {}
    if isinstance(value, Map) and "from" not in parts:
        raise fault("weights", "a rule says with `from` which tensor of theirs is meant", entry)
    source = parts["from"].value if parts else value
    nodes = source.items if isinstance(source, Seq) else (source,)
    ours = templates(entry)
    theirs = tuple(each for node in nodes for each in templates(_text(node, "a name in the file, or a list of names")))
    _ = [template.letters for template in ours]
    if not ours or not theirs:
        raise fault("weights", "a name is missing here", entry)
    if len({template.letters for template in ours}) > 1:
        raise fault("weights", "the names of one rule have the same letters", entry)
    as_ = _text(parts["as"].value, "an operator such as `a b -> b a`") if "as" in parts else None
    when = parts["when"].value if "when" in parts else None
    sizes = parts["sizes"].value if "sizes" in parts else None
    if when is not None and not isinstance(when, Scalar):
        raise fault("weights", "`when` is an expression", parts["when"])
    if sizes is not None and not isinstance(sizes, Map):
        message = "`sizes` is a map of axes to sizes, such as `{h: hf.num_attention_heads}`"
        raise fault("weights", message, parts["sizes"])
    operator = None if as_ is None else _operator(as_, len(theirs), len(ours))
    if operator is None and len(ours) != len(theirs):
        message = f"{len(theirs)} tensors of theirs stand beside {len(ours)} of ours: `as` has to say how they differ"
        raise fault("weights", message, entry)
    for name, said in (sizes.entries if sizes is not None else {}).items():
        if operator is None or name not in operator.names:
            known = sorted(operator.names) if operator is not None else []
            message = f"`{name}` is no axis of the operator"
            raise fault("weights", message, said, suggestion=nearest(name, known))
    return Rule(entry, ours, theirs, operator, as_, when, sizes)


def _operator(node: Scalar, theirs: int, ours: int) -> Rearrangement:
    try:
        found = parse_operator(str(node.value))
    except RearrangeFault as wrong:
        raise fault("operator", str(wrong), node, wrong.offset, wrong.length) from None
    for side, patterns, count in (("left", found.left, theirs), ("right", found.right, ours)):
        if len(patterns) != count:
            whose = "theirs" if side == "left" else "ours"
            message = f"the {side} of `->` has {len(patterns)} patterns for {count} of {whose}; commas separate them"
            raise fault("operator", message, node)
    return found


def _text(node: Node, wanted: str) -> Scalar:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
        return node
    raise FamilyError([Problem("weights", f"this has to be {wanted}", span=node.span)])


def _layout(node: Node) -> Layout:
    value = plain(node)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        message = "a layout is a map of names to texts, such as `{base: transformer.}`"
        raise FamilyError([Problem("weights", message, span=node.span)])
    return value


@dataclass
class Binding:
    """The rules of a family for one model under one layout; `unmatched` and the like are told as problems."""

    bound: list[Bound] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def bind(rules: Rules, env: Env, ours: Iterable[str], layout: Layout) -> Binding:
    """Find out which tensors each rule means, driven by our names."""
    out = Binding()
    env = env.with_(**layout)
    names = tuple(ours)
    for rule in rules.rules:
        try:
            _bind_rule(rule, env, names, out)
        except FamilyError as error:
            out.problems += error.problems
    return out


def _bind_rule(rule: Rule, env: Env, names: Sequence[str], out: Binding) -> None:
    met = False
    for ours, theirs in rule.groups:
        found: dict[tuple[tuple[str, int], ...], dict[int, str]] = {}
        for index, template in enumerate(ours):
            for name in names:
                numbers = template.match(name)
                if numbers is not None:
                    found.setdefault(tuple(sorted(numbers.items())), {})[index] = name
        for key, members in found.items():
            letters = dict(key)
            met = True
            inner = env.with_(**letters)
            if not _holds(rule, inner):
                if rule.sizes is not None:
                    env.skip(rule.sizes, bare=True)
                continue
            if len(members) != len(ours):
                lacking = next(t for n, t in enumerate(ours) if n not in members)
                said = _numbered(lacking, letters)
                raise fault("weights", f"the rule is for `{said}`, too, which the model has not", rule.entry)
            out.bound.append(_bound(rule, inner, letters, tuple(members[n] for n in range(len(ours))), theirs))
    if not met and any(_holds(rule, each) for each in _places(rule, env, names)):
        meant = nearest(rule.ours[0].filled(lambda _: "{}"), dict.fromkeys(map(general, names)))
        likely = None if meant is None else _with_letters(meant, rule.ours[0])
        message = f"no parameter of this model is called `{rule.ours[0].text}`"
        own = "leave the rule out, or say with `when` which configs it is for"
        fix = rule.fix(own) if rule.when is None or rule.inherited else None
        out.problems.append(problem("unmatched-rule", message, rule.entry, suggestion=likely, fix=fix))


def _places(rule: Rule, env: Env, names: Sequence[str]) -> list[Env]:
    """Where a rule that met no name of ours might have: with its letters as the numbers that stand in their place."""
    letters = rule.ours[0].letters
    if rule.when is None or not letters:
        return [env]
    numbers = {number for template in rule.ours for name in names if (number := template.number(name)) is not None}
    return [env.with_(**dict.fromkeys(letters, number)) for number in sorted(numbers or {0})]


def _with_letters(name: str, like: Template) -> str:
    """A general name with the letters of another."""
    for hole in like.holes:
        name = name.replace("{}", f"{{{hole.text}}}", 1)
    return name.replace("{}", "{i}")


def _numbered(template: Template, letters: Mapping[str, int]) -> str:
    return template.filled(lambda hole: letters[hole.letter or ""])


def _holds(rule: Rule, env: Env) -> bool:
    if rule.when is None:
        return True
    value = env.value(rule.when)
    if not isinstance(value, bool):
        raise fault("weights", f"`when` is true or false, and this is {value!r}", rule.when)
    return value


def _bound(rule: Rule, env: Env, letters: dict[str, int], ours: tuple[str, ...], theirs: tuple[Template, ...]) -> Bound:
    """Fill in all of their names but a letter that ours have not."""
    stacked = {
        hole.letter
        for template in theirs
        for hole in template.holes
        if hole.letter is not None and hole.letter not in {*letters, *env.names, *env.let.entries}
    }
    if len(stacked) > 1:
        named = " and ".join(f"`{{{letter}}}`" for letter in sorted(stacked))
        raise fault("weights", f"{named} are not in our name: tensors are stacked over one letter at most", rule.source)
    over = next(iter(stacked), None)
    return Bound(rule, env, ours, tuple(fill(each, env, over or "") for each in theirs), over)


def fill(template: Template, env: Env, leave: str = "") -> Template:
    """A template of theirs with the values of its expressions, but for the letters to `leave`."""

    def value(hole: Hole) -> str | Hole:
        if hole.letter is not None and hole.letter in leave:
            return hole
        found = env.text(template.node, hole.text, hole.offset)
        if isinstance(found, bool) or not isinstance(found, int | str):
            message = f"`{hole.text}` is {found!r}, no part of a name"
            raise fault("weights", message, template.node, hole.offset, len(hole.text))
        return str(found)

    pieces = tuple(piece if isinstance(piece, str) else value(piece) for piece in template.pieces)
    return Template(template.node, pieces)
