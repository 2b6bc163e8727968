"""Expressions backwards: what the fields of a config must be for an expression to come to a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from blueprint import arithmetic
from blueprint.interop.config import FamilyError, Path_
from blueprint.interop.env import HF, Bound, Env, expressions
from blueprint.interop.expression import Expression, ExpressionFault, Name, parse, same
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
            if alike(_evaluated(tree, env), target):
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
                now = _evaluated(name.steps[1], env)
            except ExpressionFault:
                now = None
            if now not in keys:
                self.tree(name.steps[1], keys[0], env)
            else:
                self.tree(name.steps[1], now, env)

    def _default(self, tree: Operation, target: Any, env: Env) -> None:
        name, other = tree.inner
        try:
            unsaid = _evaluated(other, env)
        except ExpressionFault:
            unsaid = ...
        if isinstance(name, Name) and not (
            unsaid is not ... and alike(unsaid, target) and not env.said(name.path(env))
        ):
            self.name(name, target, env)

    def _if(self, tree: Operation, target: Any, env: Env) -> None:
        then, condition, other = tree.inner
        try:
            holds = bool(_evaluated(condition, env))
        except ExpressionFault:
            holds = True
        # A field that says it outright is better than a rule that happens to give it.
        said = then.inner[0] if isinstance(then, Operation) and then.sign == "len" else then
        if not holds and isinstance(said, Name) and said.steps[0] == HF and not _says(other, target, env):
            holds = True
            self.tree(condition, True, env)
        # What says something else for certain was not chosen.
        sides = {True: then, False: other}
        if _constant(sides[holds]) and not alike(_evaluated(sides[holds], env), target):
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
                self.tree(left, _evaluated(right, env), env)
            except ExpressionFault:
                return

    def _less(self, tree: Operation, target: Any, env: Env) -> None:
        """A whole number's bound, moved as little as turns the comparison (`i < hf.first_dense`)."""
        left, right = tree.inner
        flipped = not _fields(right)
        known, bound = (right, left) if flipped else (left, right)
        if _fields(known):
            return
        try:
            value = _evaluated(known, env)
        except ExpressionFault:
            return
        # As `value sign bound`: whether the bound has to lie above the value, and whether it may be it.
        sign = _FLIPPED[tree.sign] if flipped else tree.sign
        sign = sign if target else _NEGATED[sign]
        if isinstance(value, int):
            self.tree(bound, value + {"<": 1, "<=": 0, ">": -1, ">=": 0}[sign], env)

    def _in(self, tree: Operation, target: Any, env: Env) -> None:
        """A list with an item more or fewer."""
        item, whole = tree.inner
        if _fields(item):
            return
        try:
            value = _evaluated(item, env)
        except ExpressionFault:
            return
        try:
            known = _evaluated(whole, env)
        except ExpressionFault:
            known = None
        known = known if isinstance(known, list) else []
        wanted = (tree.sign == "in") == bool(target)
        self.tree(whole, [*known, value] if wanted else [each for each in known if not same(each, value)], env)

    def _len(self, tree: Operation, target: Any, env: Env) -> None:
        """A map of so many labels, named by their numbers."""
        if isinstance(target, int | float):
            self.tree(tree.inner[0], {f"{n}": f"LABEL_{n}" for n in range(int(target))}, env)

    def _product(self, tree: Operation, target: Any, env: Env) -> None:
        if len(tree.inner) != 2 or isinstance(target, bool) or not isinstance(target, int | float):
            return
        # Best what stands alone; where fields stand on both sides, those that nothing has decided, else on the left.
        ways = [(i, o) for i, o in ((0, 1), (1, 0)) if _fields(tree.inner[i]) and not self._settled(tree.inner[i], env)]
        for index, other in sorted(ways, key=lambda way: not self._settled(tree.inner[way[1]], env)):
            try:
                known = _evaluated(tree.inner[other], env)
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
            return all(env.meant(name.path(env))[1:] in self.solved for name in _fields(tree))
        except ExpressionFault:
            return False


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_METHODS: dict[str, Callable[[Inverter, Operation, Any, Env], None]] = {
    "default": Inverter._default,
    "if": Inverter._if,
    "not": Inverter._not,
    "and": Inverter._all,
    "or": Inverter._all,
    "==": Inverter._equal,
    "!=": Inverter._equal,
    **dict.fromkeys(("<", "<=", ">", ">="), Inverter._less),
    "len": Inverter._len,
    "in": Inverter._in,
    "not in": Inverter._in,
    **dict.fromkeys(("*", "/", "//", "+", "-"), Inverter._product),
}


def _evaluated(tree: Tree, env: Env) -> Any:
    return Expression("", tree, 0).evaluate(env)


def _fields(tree: Tree) -> list[Name]:
    return [name for name in Expression("", tree, 0).names() if name.steps[0] == HF]


def _says(tree: Tree, target: Any, env: Env) -> bool:
    """Whether a field, or one of those that are chosen between, has a value already."""
    if isinstance(tree, Operation) and tree.sign == "if":
        return any(_says(each, target, env) for each in (tree.inner[0], tree.inner[2]))
    try:
        return not _constant(tree) and alike(_evaluated(tree, env), target)
    except ExpressionFault:
        return False


def _constant(tree: Tree) -> bool:
    """Whether it comes to the same whatever the config."""
    return next(Expression("", tree, 0).names(), None) is None
