"""What an expression comes to as the config is now, and whether it needs the config at all."""

from __future__ import annotations

from typing import Any

from blueprint.interop.env import HF, Env
from blueprint.interop.expression import Expression, ExpressionFault, Name
from blueprint.interop.numeric import alike
from blueprint.interop.value import Operation, Tree


def evaluated(tree: Tree, env: Env) -> Any:
    """The value of a parsed expression; raises `ExpressionFault`."""
    return Expression("", tree, 0).evaluate(env)


def has(name: Name, env: Env) -> bool:
    """Whether a field has a value, its own or a default."""
    try:
        return evaluated(name, env) is not None
    except ExpressionFault:
        return False


def fields(tree: Tree) -> list[Name]:
    """The fields of the config that an expression names."""
    return [name for name in Expression("", tree, 0).names() if name.steps[0] == HF]


def says(tree: Tree, target: Any, env: Env) -> bool:
    """Whether a field, or one of those that are chosen between, has a value already."""
    if isinstance(tree, Operation) and tree.sign == "if":
        return any(says(each, target, env) for each in (tree.inner[0], tree.inner[2]))
    try:
        return not constant(tree) and alike(evaluated(tree, env), target)
    except ExpressionFault:
        return False


def constant(tree: Tree) -> bool:
    """Whether it comes to the same whatever the config."""
    return next(Expression("", tree, 0).names(), None) is None
