"""A family's template backwards: the config from which a spec would have been filled, proven by filling it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from blueprint.diagnosis import Problem
from blueprint.interop.config import Config, FamilyError, Path_
from blueprint.interop.env import Env
from blueprint.interop.expression import said, same
from blueprint.interop.family import Family, families, read_family
from blueprint.interop.invert import Conflict, Inverter
from blueprint.interop.template import CASE, ELSE, IF, OMIT, THEN, USE, Filled, fill
from blueprint.interop.view import View
from blueprint.plan import Plan, plan
from blueprint.schema.spec import Spec
from blueprint.tree import Map, Node, Scalar, Seq
from blueprint.tree import plain as values

#: How often the template is gone through: what one place decides (which layers are of which kind) others may need.
_ROUNDS = 3


def solve(
    spec: Spec, family: Family | None = None, start: Mapping[str, Any] | None = None, ignore: Sequence[str] = ()
) -> Filled:
    """A family filled from the config that says a spec; fields of `start` stay as they are where they are right.

    Without a family, the simplest that ships and can say the model is taken. Raises FamilyError, with the paths that
    would differ, where none can.
    """
    if family is not None:
        return _solved(family, spec, start, ignore)
    refusals: list[_Differs] = []
    for one in sorted(map(read_family, families()), key=lambda each: (len(set(each.fields())), each.name)):
        try:
            return _solved(one, spec, start, ignore)
        except _Differs as refused:
            refusals.append(refused)
        except FamilyError:
            continue
    if refusals:
        raise min(refusals, key=lambda each: each.count)
    message = "no family that ships can say this model"
    raise FamilyError([Problem("export", message, fix="write a family of your own; docs/families.md shows how")])


class _Differs(FamilyError):
    """A family fills another model; `count` is in how many places."""

    def __init__(self, family: Family, rows: list[str]) -> None:
        more = [f"and {len(rows) - 12} more"] if len(rows) > 12 else []
        message = f"no config of the family `{family.name}` says this model; the nearest differs in {len(rows)} places"
        fix = "export with another family, or write one that can say it; docs/families.md shows how"
        super().__init__([Problem("export", message, fix=fix, notes=(*rows[:12], *more))])
        self.count = len(rows)


def _solved(family: Family, spec: Spec, start: Mapping[str, Any] | None, ignore: Sequence[str]) -> Filled:
    proven = plan(spec)
    written = copy.deepcopy(dict(start)) if start is not None else _matching(family)
    walk = _Walk(family, written, fresh=start is None)
    for _ in range(_ROUNDS):
        before = copy.deepcopy(written)
        walk.model(proven)
        if written == before:
            break
    try:
        if start is None:
            _complete(family, written, ignore)
            if "pad_token_id" not in family.fields():
                # Left out, it would be that of the family's first vocabulary, and this one's may not reach so far.
                written["pad_token_id"] = None
        filled = fill(family, Config.of(written), ignore)
    except FamilyError as error:
        message = f"the config by which the family `{family.name}` would say this model has faults"
        raise FamilyError([Problem("export", message), *error.problems]) from None
    if filled.plan.hash != proven.hash:
        differ = _differences(proven.to_plain(means=False), filled.plan.to_plain(means=False))
        raise _Differs(family, [f"{path}: {said(ours)} here, {said(theirs)} there" for path, ours, theirs in differ])
    return filled


def _matching(family: Family) -> dict[str, Any]:
    """The fields by which a config of the family is told."""
    out: dict[str, Any] = {}
    for key, entry in family.match.entries.items():
        value = values(entry.value)
        _set(out, tuple(key.split(".")), value[0] if isinstance(value, list) else value)
    return out


def _complete(family: Family, config: dict[str, Any], ignore: Sequence[str]) -> None:
    """Say of a map that the config says in part what else of it counts: others take it as it stands, or not at all."""
    for key, entry in family.defaults.entries.items():
        found = config.get(key)
        if not isinstance(found, dict) or not isinstance(entry.value, Map):
            continue
        whole = fill(family, Config.of(config), ignore).plan.hash
        for leaf, default in entry.value.entries.items():
            if leaf in found or isinstance(default.value, Map):
                continue
            rest = entry.value.without(leaf)
            defaults = family.defaults.with_entry(replace(entry, value=rest))
            root = family.root.with_entry(replace(family.root.entries["defaults"], value=defaults))
            try:
                counts = fill(replace(family, root=root), Config.of(config), ignore).plan.hash != whole
            except FamilyError:
                counts = True
            if counts:
                found[leaf] = values(default.value)


def _set(config: dict[str, Any], path: Path_, value: Any) -> None:
    *above, last = path
    inner: Any = config
    for step in above:
        if not isinstance(inner.get(step), dict):
            inner[step] = {}
        inner = inner[step]
    inner[last] = value


def _differences(ours: Any, theirs: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = dict.fromkeys([*ours, *theirs])
        found = [_differences(ours.get(k), theirs.get(k), f"{path}.{k}" if path else k) for k in keys]
        return [each for one in found for each in one]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        found = [_differences(a, b, f"{path}.{n}") for n, (a, b) in enumerate(zip(ours, theirs, strict=True))]
        return [each for one in found for each in one]
    return [] if same(ours, theirs) else [(path, ours, theirs)]


class _Walk:
    """Goes through a template beside the values it should come to, and writes the config that gives them."""

    def __init__(self, family: Family, config: dict[str, Any], *, fresh: bool) -> None:
        self.family, self.config, self.fresh = family, config, fresh
        # The view reads the very dict that is being written.
        holder: list[Env] = []
        here = Config(config, Config.of({}).root)
        self.view = View(here, family.defaults, family.aliases, lambda node: holder[0].value_of(node))
        self.env = Env(self.view, family.let)
        holder.append(self.env)
        self.inverter = Inverter(self.assign, family.let)

    def model(self, proven: Plan) -> None:
        self.stacks = {side: [layer.block.to_plain() for layer in stack] for side, stack in proven.stacks.items()}
        target = {**proven.model.to_plain(), "vocab_size": proven.site.vocab_size}
        numbers = {"d_model": target.get("d_model")}
        own = {side: getattr(proven.model, side, None) for side in self.stacks}
        template = self.family.model
        for side, blocks in self.stacks.items():
            # What several stacks have in common is said of each; what one says of itself comes after it, and holds.
            section = own[side]
            whole = target if section is None else {**section.to_plain(), "layers": len(blocks)}
            said = template.get(side)
            for node in (template, said) if section is not None else (template,):
                if isinstance(node, Map):
                    known = set(target) - set(whole) if node is template else set()
                    self.side(node, {**{key: target[key] for key in known}, **whole}, blocks, numbers)

    def side(self, node: Map, target: dict[str, Any], blocks: list[Any], numbers: dict[str, Any]) -> None:
        """What a template says of one stack and of what is around it."""
        self.depth = len(blocks)
        numbers = {**numbers, "d_model": target.get("d_model", numbers["d_model"]), "n_layers": self.depth}
        for key, entry in node.entries.items():
            if key == "block":
                self.layers(entry.value, blocks, numbers)
            elif key in target and key not in self.stacks:
                self.loose(entry.value, target[key], self.env, numbers)

    def layers(self, node: Node, blocks: list[Any], numbers: dict[str, Any]) -> None:
        for index, block in enumerate(blocks):
            layer = self.env.with_(i=index, n=len(blocks))
            self.loose(node, block, layer, {**numbers, "layer": index})

    def assign(self, path: Path_, value: Any) -> None:
        """Say a field, unless the config comes to the value already."""
        if isinstance(path[-1], int):
            self.item(path, value)
            return
        try:
            now = self.view.get(path)[0]
            known = same(now, value)
            # As the family writes it: a whole number that others read by its type stays one.
            value = now if known else value
        except LookupError:
            known = False
        if known and (not self.fresh or self.view.said(path)):
            return
        # In the words that the config already uses, older ones too.
        place = next((each for each in self.view.spellings(path) if self.view.holds(each)), path)
        _set(self.config, place, value)

    def item(self, path: Path_, value: Any) -> None:
        index = path[-1]
        assert isinstance(index, int)
        try:
            items = list(self.view.get(path[:-1])[0] or [])
        except (LookupError, TypeError):
            items = []
        # What other layers hold is not known yet, and must be something that can stand there.
        items += [value] * (self.depth - len(items))
        items[index] = value
        self.assign(path[:-1], items)

    def node(self, node: Node, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        """Make a node of the template come to a target; raises `Conflict` where it says something else for certain."""
        if isinstance(node, Map):
            if IF in node.entries:
                self.condition(node, target, env, numbers)
            elif CASE in node.entries:
                self.case(node, target, env, numbers)
            elif USE in node.entries:
                given = {key: env.bound(e.value) for key, e in node.entries.items() if key != USE}
                piece = self.family.templates.entries[str(values(node.entries[USE].value))].value
                self.node(piece, target, env.with_(**given), numbers)
            else:
                self.map(node, target, env, numbers)
        elif isinstance(node, Seq):
            if isinstance(target, list) and len(target) == len(node.items):
                for item, inner in zip(node.items, target, strict=True):
                    self.node(item, inner, env, numbers)
            else:
                raise Conflict
        else:
            self.inverter.scalar(node, target, env, numbers)

    def map(self, node: Map, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        if not isinstance(target, dict):
            raise Conflict
        # What a part is comes first: a field of another part means nothing.
        for key in sorted(node.entries, key=lambda key: key != "type"):
            value = node.entries[key].value
            if key not in target:
                raise Conflict
            width = target.get("head_dim", numbers.get("head_dim"))
            self.node(value, target[key], env, {**numbers, "head_dim": width})

    def loose(self, node: Node, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        """As `node`, key by key, so that what one place cannot say does not keep the others from being solved."""
        if isinstance(node, Map) and isinstance(target, dict) and not any(key.startswith("$") for key in node.entries):
            width = target.get("head_dim", numbers.get("head_dim"))
            for key, entry in node.entries.items():
                if key in target:
                    self.loose(entry.value, target[key], env, {**numbers, "head_dim": width})
            return
        try:
            self.node(node, target, env, numbers)
        except (Conflict, FamilyError):
            return

    def tried(self, node: Node | None, target: Any, env: Env, numbers: dict[str, Any]) -> bool:
        """Whether a node can come to a target; what it would say is said if so, and nothing if not."""
        if node is None or (isinstance(node, Scalar) and node.value == OMIT):
            return target is None
        before = copy.deepcopy(self.config)
        try:
            self.node(node, target, env, numbers)
        except (Conflict, FamilyError):
            self.config.clear()
            self.config.update(before)
            return False
        return True

    def condition(self, node: Map, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        now = self.current(node.entries[IF].value, env)
        branches = [(True, node.get(THEN)), (False, node.get(ELSE))]
        # Nothing comes of a branch that says nothing, rather than of a field that would have to be null.
        order = sorted(branches, key=lambda each: (target is None and each[1] is not None, each[0] != bool(now)))
        for wanted, branch in order:
            if self.tried(branch, target, env, numbers):
                self.inverter.expression(node.entries[IF].value, wanted, env)
                return
        raise Conflict

    def case(self, node: Map, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        now = self.current(node.entries[CASE].value, env)
        options = [key for key in node.entries if key not in (CASE, ELSE)]
        ordered = sorted(options, key=lambda key: key != (now if isinstance(now, str) else said(now)))
        for key in ordered:
            if self.tried(node.get(key), target, env, numbers):
                self.inverter.expression(node.entries[CASE].value, _value_of(key, now), env)
                return
        if ELSE in node.entries and self.tried(node.get(ELSE), target, env, numbers):
            return
        raise Conflict

    def current(self, node: Node, env: Env) -> Any:
        try:
            return env.value(node)
        except FamilyError:
            return None


def _value_of(word: str, now: Any) -> Any:
    """The value that an option's word stands for."""
    known: dict[str, Any] = {"true": True, "false": False, "null": None}
    if word in known:
        return known[word]
    return int(word) if word.lstrip("-").isdigit() else word
