"""What the fields of a section are, read from the strings below them when somebody asks.

Pydantic can read them too, but does so for every class as it is made: a third of the time of a check.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def descriptions(cls: type[BaseModel]) -> dict[str, str]:
    """What each field is, by its name: its `Field(description=…)`, else the string below it; bases' fields included."""
    written: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            written |= _written(base)
    said = {name: info.description or written.get(name) for name, info in cls.model_fields.items()}
    return {name: " ".join(text.split()) for name, text in said.items() if text}


def _written(cls: type) -> dict[str, str]:
    """The strings below the fields of one class; empty where its source is not to be had."""
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        return {}
    node: ast.AST | None = None if file is None else _parsed(file)
    for step in cls.__qualname__.split("."):
        if node is not None and step != "<locals>":
            node = _named(node, step)
    return {} if node is None else _below(node)


@cache
def _parsed(file: str) -> ast.AST:
    return ast.parse("".join(linecache.getlines(file)))


def _named(node: ast.AST, name: str) -> ast.AST | None:
    """The last class or function of that name directly in a scope, whatever conditions it stands under."""
    found: ast.AST | None = None
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = child if child.name == name else found
        else:
            found = _named(child, name) or found
    return found


def _below(node: ast.AST) -> dict[str, str]:
    body = getattr(node, "body", [])
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
