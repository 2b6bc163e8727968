"""What an import or an export has to move: every tensor of ours beside those of theirs, proven to fit and to be all.

Everything that is wrong is told at once, each fault at the rule in the family file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from string import ascii_lowercase

from blueprint.diagnosis import Problem, nearest
from blueprint.interop.config import FamilyError
from blueprint.interop.env import Env
from blueprint.interop.names import general, grouped, problem
from blueprint.interop.pattern import Name, RearrangeFault, Rearrangement
from blueprint.interop.rearrange import Shape, identity, shape, solve
from blueprint.interop.rules import Binding, Bound, Layout, Rules, bind, fill
from blueprint.tree import Entry

#: Names that are listed in one message.
_LISTED = 20
#: Faults up to which it is said what may have been meant: comparing names takes time.
_GUESSED = 3


@dataclass(frozen=True)
class Theirs:
    """What one pattern stands for: a tensor of theirs, or those that ours holds stacked over an axis."""

    names: tuple[str, ...]
    stacked: str | None
    shape: Shape


@dataclass(frozen=True)
class Move:
    """Tensors of ours and of theirs that hold the same elements; without `operator` they are the same tensor."""

    bound: Bound
    ours: tuple[str, ...]
    theirs: tuple[Theirs, ...]
    operator: Rearrangement | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Moves:
    """All moves; of the file's other tensors those that are `tied` copies of one, and those that are dropped."""

    moves: tuple[Move, ...]
    layout: int
    tied: dict[str, str]
    dropped: tuple[str, ...] = ()


def moves_in(rules: Rules, env: Env, ours: Mapping[str, Shape], theirs: Mapping[str, tuple[str, Shape]]) -> Moves:
    """What an import moves from a file with `theirs` (number format and shape) to a model with `ours`.

    Raises FamilyError with everything that does not fit.
    """
    tries = [bind(rules, env, ours, layout) for layout in rules.layouts]
    best = max(range(len(tries)), key=lambda n: (_present(tries[n], theirs), -n))
    binding, layout = tries[best], rules.layouts[best]
    tied = _tied(rules, env.with_(**layout), layout, theirs, binding.problems)
    matching = _Matching(rules, binding, ours, theirs, tied)
    found = matching.run()
    used = set(matching.claims)
    # A copy that is all there is of a tensor stands for it.
    rest = {name for name in theirs if name not in used}
    stands = {original: copy for copy, original in tied.items() if original not in theirs and copy in used}
    copies = {copy: original for copy, original in tied.items() if stands.get(original, original) in used}
    copies = {copy: original for copy, original in copies.items() if copy in rest or stands.get(original) == copy}
    drop = [fill(template.laid(layout), env, ascii_lowercase) for template in rules.drop]
    dropped = tuple(name for name in theirs if name in rest - set(copies) and any(each.covers(name) for each in drop))
    unused = [name for name in theirs if name in rest - set(copies) - set(dropped)]
    if unused:
        fix = "give it a rule, or name it under `drop` with the reason why it carries nothing"
        binding.problems.append(_of_weights(rules, "unused-tensor", "no rule uses", unused, "in the file", fix))
    if binding.problems:
        raise FamilyError(_once(binding.problems))
    return Moves(tuple(found), best, copies, dropped)


def moves_out(rules: Rules, env: Env, ours: Mapping[str, Shape], layout: int = 0) -> Moves:
    """What an export moves from a model with `ours`; raises FamilyError with everything that does not fit."""
    said = rules.layouts[layout]
    binding = bind(rules, env, ours, said)
    found = _Matching(rules, binding, ours, None, {}).run()
    if binding.problems:
        raise FamilyError(_once(binding.problems))
    return Moves(tuple(found), layout, {})


def _present(binding: Binding, theirs: Mapping[str, object]) -> int:
    return sum(bound.names(n, 0) in theirs for bound in binding.bound for n in range(len(bound.theirs)))


def _tied(
    rules: Rules, env: Env, layout: Layout, theirs: Mapping[str, object], problems: list[Problem]
) -> dict[str, str]:
    """The tensors of a file that the family calls copies, and what they are copies of."""
    out = {}
    for copy, original in rules.tied:
        laid = copy.laid(layout)
        for name in theirs:
            letters = laid.match(name)
            if letters is not None:
                try:
                    out[name] = fill(original, env.with_(**letters)).text
                except FamilyError as error:
                    problems += error.problems
    return out


@dataclass
class _Matching:
    """Matches what rules say against what there is, and keeps who claimed what."""

    rules: Rules
    binding: Binding
    ours: Mapping[str, Shape]
    theirs: Mapping[str, tuple[str, Shape]] | None
    tied: Mapping[str, str]
    claims: dict[str, Bound] = field(default_factory=dict)
    filled: dict[str, Bound] = field(default_factory=dict)

    def run(self) -> list[Move]:
        found = []
        for bound in self.binding.bound:
            for name in bound.ours:
                self.claim(self.filled, name, bound, "our", bound.rule.entry)
            try:
                found += list(self.moves(bound))
            except FamilyError as error:
                self.binding.problems += error.problems
        lacking = [name for name in self.ours if name not in self.filled]
        if lacking:
            fix = "give it a rule, or look at the template: does the model have what the file has not?"
            self.binding.problems.append(
                _of_weights(self.rules, "unfilled-tensor", "no rule fills", lacking, "of the model", fix)
            )
        return found

    def claim(self, claims: dict[str, Bound], name: str, bound: Bound, whose: str, at: object) -> None:
        first = claims.setdefault(name, bound)
        if first is not bound:
            assert isinstance(at, Entry) or hasattr(at, "value")
            message = f"{whose} tensor `{name}` is claimed twice; the other rule is at {first.rule.entry.span}"
            self.binding.problems.append(problem("claimed-twice", message, at))  # type: ignore[arg-type]

    def moves(self, bound: Bound) -> Iterator[Move]:
        theirs = [self.operand(bound, index) for index in range(len(bound.theirs))]
        if None in theirs:
            return
        known = [each for each in theirs if each is not None]
        operator = bound.rule.operator
        if operator is None and bound.stacked is not None:
            operator = identity(len(self.ours[bound.ours[0]]), bound.stacked)
        if operator is None:
            (there,), (ours,) = known, bound.ours
            if self.theirs is not None and there.shape != self.ours[ours]:
                turned = len(there.shape) == 2 and there.shape[::-1] == self.ours[ours]
                fix = "`as: a b -> b a` transposes" if turned else None
                raise self.misfit(bound, known, "the shapes differ", fix=fix)
            yield Move(bound, bound.ours, (Theirs(there.names, None, self.ours[ours]),))
            return
        yield self.rearranged(bound, known, operator)

    def rearranged(self, bound: Bound, theirs: list[Theirs], operator: Rearrangement) -> Move:
        for each, pattern in zip(theirs, operator.left, strict=True):
            first = pattern[0] if pattern else None
            if each.stacked is not None and not (isinstance(first, Name) and first.text == each.stacked):
                message = f"tensors are stacked over `{each.stacked}`: their pattern begins with it"
                raise self.misfit(bound, theirs, message)
        said = {}
        for name, entry in (bound.rule.sizes.entries if bound.rule.sizes is not None else {}).items():
            value = bound.env.value(entry.value)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                message = f"the size of `{name}` is {value!r}, no whole number"
                raise FamilyError([problem("size", message, entry)])
            said[name] = value
        if self.theirs is not None:
            formats = sorted({self.theirs[name][0] for each in theirs for name in each.names})
            if len(formats) > 1:
                raise self.misfit(bound, theirs, f"tensors of one rule are of different formats: {', '.join(formats)}")
        left = [None if self.theirs is None else each.shape for each in theirs]
        try:
            sizes = solve(operator, left, [self.ours[name] for name in bound.ours], said)
        except RearrangeFault as wrong:
            raise self.misfit(bound, theirs, str(wrong), wrong.offset, wrong.length) from None
        made = []
        for index, (each, pattern) in enumerate(zip(theirs, operator.left, strict=True)):
            whole = shape(pattern, sizes)
            names = each.names
            if self.theirs is None and each.stacked is not None:
                names = tuple(bound.names(index, n) for n in range(whole[0]))
                for name in names:
                    self.claim(self.claims, name, bound, "their", bound.rule.source)
            made.append(Theirs(names, each.stacked, whole))
        return Move(bound, bound.ours, tuple(made), operator, sizes)

    def operand(self, bound: Bound, index: int) -> Theirs | None:
        """The tensors of one pattern of theirs, claimed; None where one is missing, which is told."""
        stacked = bound.stacked if any(hole.letter == bound.stacked for hole in bound.theirs[index].holes) else None
        if self.theirs is None:
            names = () if stacked else (bound.names(index),)
            for name in names:
                self.claim(self.claims, name, bound, "their", bound.rule.source)
            return Theirs(names, stacked, ())
        found: list[str] = []
        for number in count() if stacked else (None,):
            wanted = bound.names(index, number)
            there = self.actual(wanted)
            if there is None:
                if not found:
                    self.missing(wanted, bound)
                    return None
                break
            self.claim(self.claims, there, bound, "their", bound.rule.source)
            found.append(there)
        kinds = {self.theirs[name] for name in found}
        if len(kinds) > 1:
            said = " and ".join(f"{dtype} {list(of)}" for dtype, of in sorted(kinds)[:3])
            message = f"tensors that are stacked differ: `{found[0]}` … are {said}"
            raise FamilyError([problem("shape", message, bound.rule.source)])
        own = self.theirs[found[0]][1]
        return Theirs(tuple(found), stacked, (len(found), *own) if stacked else own)

    def actual(self, name: str) -> str | None:
        """The name under which a tensor of theirs is in the file: its own, or that of a copy."""
        assert self.theirs is not None
        if name in self.theirs:
            return name
        return next((copy for copy, original in self.tied.items() if original == name), None)

    def missing(self, name: str, bound: Bound) -> None:
        assert self.theirs is not None
        near = nearest(name, self.theirs) if len(self.binding.problems) < _GUESSED else None
        message = f"the file has no `{name}`"
        fix = None if near else bound.rule.fix("say with `when` which configs the rule is for")
        self.binding.problems.append(problem("missing-tensor", message, bound.rule.source, suggestion=near, fix=fix))

    def misfit(
        self, bound: Bound, theirs: list[Theirs], message: str, offset: int = 0, length: int = 0, fix: str | None = None
    ) -> FamilyError:
        shapes = [(name, self.ours[name]) for name in bound.ours]
        notes = [f"ours: {name} {list(of)}" for name, of in shapes]
        if self.theirs is not None:
            notes = [
                f"theirs: {each.names[0]}{' …' * bool(each.stacked)} {list(each.shape)}" for each in theirs
            ] + notes
        rule = bound.rule
        node = rule.as_ if rule.as_ is not None else rule.entry
        place = (offset, length) if rule.as_ is not None else (0, 0)
        return FamilyError([problem("shape", message, node, *place, fix=fix, notes=tuple(notes))])


def _of_weights(rules: Rules, code: str, what: str, names: list[str], where: str, fix: str) -> Problem:
    lines = list(grouped(names))
    more = (f"and {len(lines) - _LISTED} more kinds",) if len(lines) > _LISTED else ()
    message = f"{what} {len(names)} tensor{'s' * (len(names) > 1)} {where}"
    entry = rules.family.root.entries["weights"]
    return problem(code, message, entry, fix=fix, notes=(*lines[:_LISTED], *more))


def _once(problems: list[Problem]) -> list[Problem]:
    """Problems of one kind at one place once, with how many more there are: a rule speaks for many layers."""
    found: dict[object, list[Problem]] = {}
    for each in problems:
        found.setdefault((each.code, each.span, general(each.message)), []).append(each)
    return [_counted(members) for members in found.values()]


def _counted(members: list[Problem]) -> Problem:
    first = members[0]
    if len(members) == 1:
        return first
    notes = (*first.notes, f"and {len(members) - 1} more like this")
    return Problem(first.code, first.message, first.path, first.span, first.suggestion, first.fix, notes)
