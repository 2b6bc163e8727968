"""A template and the values it should come to, side by side: what is met on the way becomes a config."""

from __future__ import annotations

import copy
from typing import Any

from blueprint.interop.config import Config, FamilyError, Path_
from blueprint.interop.env import Env
from blueprint.interop.expression import said, same
from blueprint.interop.family import Family
from blueprint.interop.invert import Conflict, Inverter
from blueprint.interop.template import CASE, ELSE, IF, OMIT, THEN, USE
from blueprint.interop.view import View
from blueprint.plan import Plan
from blueprint.tree import Map, Node, Scalar, Seq
from blueprint.tree import plain as values


def put(config: dict[str, Any], path: Path_, value: Any) -> None:
    """Write a value into a config, with the maps above it; what is no map on the way is replaced."""
    *above, last = path
    inner: Any = config
    for step in above:
        if not isinstance(inner.get(step), dict):
            inner[step] = {}
        inner = inner[step]
    inner[last] = value


class Walk:
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
        """Go through the template of the model, once for each stack, beside what a plan says."""
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
        """Go through the template of a block once for each layer."""
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
            # As the family writes it: others read numbers by their type, whole or not.
            value = now if known else float(value) if type(now) is float and type(value) is int else value
        except LookupError:
            known = False
        if known and (not self.fresh or self.view.said(path)):
            return
        # In the words that the config already uses, older ones too.
        place = next((each for each in self.view.spellings(path) if self.view.holds(each)), path)
        put(self.config, place, value)

    def item(self, path: Path_, value: Any) -> None:
        """Say one item of a list, as long as the stack is deep."""
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
        """Make a map come to a target, key by key; raises `Conflict`."""
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
        """Make an `$if` come to a target, by the branch that now holds if that one can; raises `Conflict`."""
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
        """Make a `$case` come to a target, by the option that now holds if that one can; raises `Conflict`."""
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
        """What a node comes to as the config is now; None where it cannot be said yet."""
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
