"""Expressions backwards: what the fields of a config must be for an expression to come to a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from blueprint import arithmetic
from blueprint.interop.config import FamilyError, Path_
from blueprint.interop.env import HF, Bound, Env, expressions
from blueprint.interop.expression import Expression, ExpressionFault, Name, parse, same
from blueprint.interop.known import constant, evaluated, fields, has, says
from blueprint.interop.numeric import alike, counterpart, root, rounded
from blueprint.interop.value import Literal, Operation, Tree
from blueprint.tree import Map, Node, Scalar, plain


class Conflict(Exception):
    """A template says something else, whatever the config."""


class Inverter:
    """Solves expressions for fields, which it hands to `assign`; where there is no way back it leaves them alone."""

    def __init__(self, assign: Callable[[Path_, Any], None], let: Map) -> None:
        self.assign, self.let = assign, let
        #: Fields that have been solved for: the rest of an expression is solved beside them.
        self.solved: set[Path_] = set()

    def scalar(self, node: Scalar, target: Any, env: Env, numbers: dict[str, Any]) -> None:
        """Make a leaf of a template come to a target; raises `Conflict` where it is a literal that does not."""
        text = node.value
        if not isinstance(text, str) or "${" not in text:
            self.literal(text, target, numbers)
            return
        found = list(expressions(text))
        if len(found) == 1 and found[0][:2] == (0, len(text)):
            self.tree(found[0][2].tree, target, env)
        elif len(found) == 1:
            self.pasted(text, found[0], target, env, numbers)

    def expression(self, node: Node, target: Any, env: Env) -> None:
        """Make an expression, as `$if` and `$case` hold one, come to a target."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if "${" in node.value:
                self.scalar(node, target, env, {})
            else:
                self.tree(parse(node.value).tree, target, env)

    def literal(self, said: Any, target: Any, numbers: dict[str, Any]) -> None:
        """Compare what a template says whatever the config; raises `Conflict`."""
        if isinstance(target, dict) and isinstance(said, str):
            target = target.get("type")
        if alike(said, target):
            return
        if isinstance(said, str) and isinstance(target, int | float):
            # Arithmetic of the place where the part stands.
            known = {key: value for key, value in numbers.items() if isinstance(value, int | float)}
            try:
                if alike(arithmetic.parse(said).evaluate(known), target):
                    return
            except arithmetic.ArithmeticFault:
                pass
        raise Conflict

    def pasted(
        self, text: str, found: tuple[int, int, Expression], target: Any, env: Env, numbers: dict[str, Any]
    ) -> None:
        """An expression inside a text: the rest of the text must agree, or, of arithmetic, the result."""
        start, end, expression = found
        if isinstance(target, str):
            inner = re.fullmatch(re.escape(text[:start]) + "(.*)" + re.escape(text[end:]), target)
            if inner is None:
                raise Conflict
            number = re.fullmatch(r"-?\d+(\.\d+)?", inner[1])
            self.tree(
                expression.tree, float(inner[1]) if number and number[1] else int(inner[1]) if number else inner[1], env
            )
            return
        known = {key: value for key, value in numbers.items() if isinstance(value, int | float)}

        def come(value: float) -> float:
            return arithmetic.parse(f"{text[:start]}({value!r}){text[end:]}").evaluate(known)

        try:
            now = expression.evaluate(env)
            if isinstance(now, int | float) and alike(come(now), target):
                return
        except (ExpressionFault, arithmetic.ArithmeticFault, FamilyError):
            pass
        solved = root(come, target)
        if solved is not None:
            self.tree(expression.tree, solved, env)

    def tree(self, tree: Tree, target: Any, env: Env) -> None:
        """Make a parsed expression come to a target."""
        if isinstance(tree, Literal):
            if not alike(tree.value, target):
                raise Conflict
            return
        if isinstance(tree, Name):
            self.name(tree, target, env)
            return
        try:
            if alike(evaluated(tree, env), target):
                return
        except ExpressionFault:
            pass
        method = _METHODS.get(tree.sign)
        if method is not None:
            method(self, tree, target, env)

    def name(self, name: Name, target: Any, env: Env) -> None:
        """Make what a name stands for a target: a field of the config, another expression, an entry of a table."""
        first = str(name.steps[0])
        if first == HF or isinstance(env.names.get(first), Bound):
            try:
                path = env.meant(name.path(env))
            except ExpressionFault:
                return
            if path[0] == HF and len(path) > 1:
                self.solved.add(path[1:])
                self.assign(path[1:], target)
            return
        node = self.let.get(first)
        if first in env.names or node is None:
            return
        if len(name.steps) == 1 and isinstance(node, Scalar):
            self.scalar(node, target, env, {})
        elif len(name.steps) == 2 and not isinstance(name.steps[1], str) and isinstance(node, Map):
            # A table: any key that leads to the target will do, best the one that is said.
            table = plain(node)
            if isinstance(target, dict) and target.keys() == {"type"}:
                target = target["type"]
            keys = [key for key, value in table.items() if same(value, target)]
            if not keys:
                raise Conflict
            try:
                now = evaluated(name.steps[1], env)
            except ExpressionFault:
                now = None
            if now not in keys:
                self.tree(name.steps[1], keys[0], env)
            else:
                self.tree(name.steps[1], now, env)

    def _default(self, tree: Operation, target: Any, env: Env) -> None:
        name, other = tree.inner
        if not isinstance(name, Name):
            return
        try:
            left_out = alike(evaluated(other, env), target) and not env.said(name.path(env))
        except ExpressionFault:
            left_out = False
        # A field that the family has a default for is not left out by saying nothing.
        if not left_out or has(name, env):
            self.name(name, target, env)

    def _if(self, tree: Operation, target: Any, env: Env) -> None:
        then, condition, other = tree.inner
        try:
            holds = bool(evaluated(condition, env))
        except ExpressionFault:
            holds = True
        # A field that says it outright is better than a rule that happens to give it.
        said = then.inner[_SAYS[then.sign]] if isinstance(then, Operation) and then.sign in _SAYS else then
        if not holds and isinstance(said, Name) and said.steps[0] == HF and not says(other, target, env):
            holds = True
            self.tree(condition, True, env)
        # What says something else for certain was not chosen.
        sides = {True: then, False: other}
        if constant(sides[holds]) and not alike(evaluated(sides[holds], env), target):
            holds = not holds
            self.tree(condition, holds, env)
        try:
            self.tree(sides[holds], target, env)
        except Conflict:
            self.tree(condition, not holds, env)
            self.tree(sides[not holds], target, env)

    def _not(self, tree: Operation, target: Any, env: Env) -> None:
        self.tree(tree.inner[0], not target, env)

    def _all(self, tree: Operation, target: Any, env: Env) -> None:
        wanted = tree.sign == "and"
        for inner in tree.inner if bool(target) == wanted else tree.inner[:1]:
            self.tree(inner, bool(target), env)

    def _equal(self, tree: Operation, target: Any, env: Env) -> None:
        left, right = tree.inner
        if (tree.sign == "==") == bool(target):
            try:
                self.tree(left, evaluated(right, env), env)
            except ExpressionFault:
                return

    def _in(self, tree: Operation, target: Any, env: Env) -> None:
        """A list with an item more or fewer, that of a layer (`i in hf.dense_layers`) or any other."""
        item, whole = tree.inner
        value = self._here(item, env)
        if value is None:
            return
        try:
            known = evaluated(whole, env)
        except ExpressionFault:
            known = None
        known = known if isinstance(known, list) else []
        wanted = (tree.sign == "in") == bool(target)
        items = [*known, value] if wanted else [each for each in known if not same(each, value)]
        self.tree(whole, sorted(items) if all(isinstance(each, int) for each in items) else items, env)

    def _less(self, tree: Operation, target: Any, env: Env) -> None:
        """A bound that falls before or after a layer: `i < hf.dense_layers`."""
        left, right = tree.inner
        layer = self._here(left, env)
        if not isinstance(layer, int) or isinstance(layer, bool) or not isinstance(right, Name):
            return
        self.tree(right, layer + _BEYOND[tree.sign][bool(target)], env)

    def _here(self, tree: Tree, env: Env) -> Any:
        """What an expression comes to whatever the config, in this layer; None where it needs the config."""
        names = Expression("", tree, 0).names()
        known = all(isinstance(env.names.get(str(name.steps[0])), int | str) for name in names)
        return evaluated(tree, env) if known else None

    def _len(self, tree: Operation, target: Any, env: Env) -> None:
        """A map of so many labels, named by their numbers."""
        if isinstance(target, int | float):
            self.tree(tree.inner[0], {f"{n}": f"LABEL_{n}" for n in range(int(target))}, env)

    def _product(self, tree: Operation, target: Any, env: Env) -> None:
        if len(tree.inner) != 2 or isinstance(target, bool) or not isinstance(target, int | float):
            return
        # Best what stands alone; where fields stand on both sides, those that nothing has decided, else on the left.
        ways = [(i, o) for i, o in ((0, 1), (1, 0)) if fields(tree.inner[i]) and not self._settled(tree.inner[i], env)]
        for index, other in sorted(ways, key=lambda way: not self._settled(tree.inner[way[1]], env)):
            try:
                known = evaluated(tree.inner[other], env)
            except ExpressionFault:
                continue
            try:
                self.tree(tree.inner[index], rounded(counterpart(tree.sign, index == 0, target, known)), env)
            except ZeroDivisionError:
                return
            return

    def _settled(self, tree: Tree, env: Env) -> bool:
        """Whether an expression speaks of no field that is still to be solved for."""
        try:
            return all(env.meant(name.path(env))[1:] in self.solved for name in fields(tree))
        except ExpressionFault:
            return False


#: Which part of an operation holds the field that says it outright.
_SAYS = {"len": 0, "in": 1, "not in": 1}
#: How far from a layer a bound has to be for a comparison with it just not to hold, and just to hold.
_BEYOND = {"<": (0, 1), "<=": (-1, 0), ">": (0, -1), ">=": (1, 0)}

_METHODS: dict[str, Callable[[Inverter, Operation, Any, Env], None]] = {
    "default": Inverter._default,
    "if": Inverter._if,
    "not": Inverter._not,
    "and": Inverter._all,
    "or": Inverter._all,
    "==": Inverter._equal,
    "!=": Inverter._equal,
    "len": Inverter._len,
    "in": Inverter._in,
    "not in": Inverter._in,
    **dict.fromkeys(_BEYOND, Inverter._less),
    **dict.fromkeys(("*", "/", "//", "+", "-"), Inverter._product),
}
