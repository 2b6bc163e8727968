"""Who reads a field: the rules that name it, and the code that takes it from its section."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blueprint
from blueprint.component import Component, Rule, Section
from blueprint.schema.shape import fields
from blueprint.schema.spec import Spec


@dataclass(frozen=True, slots=True, order=True)
class Reader:
    """A piece of code that reads a field: `what` is a function's name, or says which rule it is."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} ({shown(self.file)}:{self.line})"


def shown(file: Path | str) -> str:
    """A path as a person reads it: relative to the working directory where it lies below."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def readers(owner: type[Section], field: str) -> list[Reader]:
    """The rules and functions that read `field` of `owner`, rules first."""
    rules = [
        Reader(Path(inspect.getsourcefile(rule.check) or ""), rule.check.__code__.co_firstlineno, _named(rule))
        for rule in owner.rules()
        if field in rule.reads
    ]
    found: dict[tuple[Path, str], Reader] = {}
    for file, speakers in _places(owner).items():
        for reader in _reads(file, field, speakers):
            found.setdefault((file, reader.what), reader)
    return [*rules, *sorted(found.values())]


def _named(rule: Rule) -> str:
    return f"rule on {', '.join(rule.reads)}"


def _places(owner: type[Section]) -> dict[Path, frozenset[str]]:
    """The files that may read a section, with the names it goes by there (`*`: any but `self`)."""
    own = [Path(inspect.getsourcefile(base) or "") for base in owner.__mro__ if _ours(base)]
    places = {file: frozenset({"self"}) for file in own if file.exists()}
    for file in own:
        for other in file.parent.glob("*_nn.py"):
            # A component's tensor half, and what such halves share.
            if other.stem in (f"{file.stem}_nn", *_imported(file.with_name(f"{file.stem}_nn.py"))):
                places[other] = frozenset({"*"})
    engine = Path(blueprint.__file__).parent
    names = _names(owner)
    for file in sorted(engine.rglob("*.py")) if names else []:
        places[file] = places.get(file, frozenset()) | names
    return places


def _ours(cls: type) -> bool:
    return issubclass(cls, Section) and cls not in (Section, Component)


def _names(owner: type[Section]) -> frozenset[str]:
    """What the engine calls an object of this class: the key it stands under in a spec."""
    if owner is Spec:
        return frozenset({"spec"})
    keys = {key for key, shape in fields(Spec).items() if shape.cls is not None and issubclass(owner, shape.cls)}
    return frozenset(keys)


def _imported(file: Path) -> set[str]:
    """The last names of the modules that a file imports."""
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text())
    return {
        node.module.rsplit(".", 1)[-1] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }


def _reads(file: Path, field: str, speakers: frozenset[str]) -> Iterator[Reader]:
    text = file.read_text()
    if field not in text:
        return
    yield from _inside(ast.parse(text), file, field, speakers, "module")


def _inside(node: ast.AST, file: Path, field: str, speakers: frozenset[str], where: str) -> Iterator[Reader]:
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = child.name if where == "module" else f"{where}.{child.name}"
        if _is_read(child, field, speakers):
            yield Reader(file, getattr(child, "lineno", 1), where)
        yield from _inside(child, file, field, speakers, inner)


def _is_read(node: ast.AST, field: str, speakers: frozenset[str]) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr == field:
        return _speaks(node.value, speakers)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        first: list[Any] = [*node.args, None, None]
        said = isinstance(first[1], ast.Constant) and first[1].value == field
        return said and _speaks(first[0], speakers)
    return False


def _speaks(node: ast.AST, speakers: frozenset[str]) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in speakers or ("*" in speakers and name not in ("", "self"))
