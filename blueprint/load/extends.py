"""`extends`: the files a spec builds on, gathered first and merged, left to right, once their plugins are known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from blueprint.diagnosis import Problem, nearest
from blueprint.load.files import scan_file
from blueprint.load.migrate import migrate
from blueprint.load.notes import noted
from blueprint.load.reader import Reading
from blueprint.schema.merge import merge
from blueprint.schema.shape import Shape
from blueprint.tree import Map, Node, Scalar, Seq, Source, Span

MAX_DEPTH = 20
MAX_FILES = 100
MAX_NODES = 400_000
#: What the name of a spec that ships begins with: `blueprint:papers/gpt2.yaml`.
SHIPPED = "blueprint:"


@dataclass
class File:
    """One text of a spec: what it says itself, what it builds on (with the place that says so), its plugins."""

    root: Map
    bases: list[tuple[File, Span]] = field(default_factory=list)
    plugins: list[Scalar] = field(default_factory=list)

    def all_plugins(self) -> Iterator[Scalar]:
        """The plugins of the whole family, those of bases first."""
        for base, _ in self.bases:
            yield from base.all_plugins()
        yield from self.plugins


class Gathering:
    """Reads a spec's text and everything it extends; `problems` holds what was wrong, `whole` whether all was read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.paths: list[Path] = []
        self.whole = True
        self._seen: dict[str, Reading] = {}
        self._nodes = 0
        self._files = 0

    def file(self, name: str) -> File | None:
        """The file called `name`, a path or `blueprint:…`, with its bases."""
        path, problem = locate(name)
        if path is None:
            self._fatal(problem)
            return None
        return self._gather(self._read(path, name), [(name, os.path.realpath(path))])

    def text(self, reading: Reading, name: str) -> File | None:
        """A text that was read already, with its bases."""
        return self._gather(reading, [(name, "")])

    def _fatal(self, *problems: Problem | None) -> None:
        self.whole = False
        self.problems += [problem for problem in problems if problem is not None]

    def _read(self, path: Path, name: str) -> Reading:
        key = os.path.realpath(path)
        if key not in self._seen:
            self._seen[key] = scan_file(path, name)
            self.paths.append(path)
            self.problems += self._seen[key].problems
        return self._seen[key]

    def _gather(self, reading: Reading, chain: list[tuple[str, str]]) -> File | None:
        if reading.node is None:
            self.whole = False
            return None
        if not isinstance(reading.node, Map):
            message = "a spec is a map of sections, with at least `model:`"
            self._fatal(Problem("not-a-map", message, span=reading.node.span))
            return None
        self._nodes += reading.count
        root, problems = migrate(reading.node)
        if problems:
            self._fatal(*problems)
            return None
        out = File(root.without("extends", "plugins"))
        out.plugins = self._texts(root, "plugins")
        for said in self._texts(root, "extends"):
            base = self._base(said, chain)
            if base is not None:
                out.bases.append((base, said.span))
        return out

    def _base(self, said: Scalar, chain: list[tuple[str, str]]) -> File | None:
        def wrong(message: str, fix: str | None = None) -> None:
            self._fatal(Problem("extends", message, ("extends",), said.span, fix=fix, notes=said.notes))

        name = beside(str(said.value), said.span.source)
        path, problem = locate(name)
        if path is None:
            assert problem is not None
            self._fatal(replace(problem, path=("extends",), span=said.span))
            return None
        key = os.path.realpath(path)
        if key in [known for _, known in chain]:
            names = [each for each, _ in chain]
            start = [known for _, known in chain].index(key)
            wrong(f"this goes in a circle: {' extends '.join([*names[start:], name])}", "remove one of these")
            return None
        self._files += 1
        if len(chain) >= MAX_DEPTH:
            wrong(f"specs extend each other at most {MAX_DEPTH} deep")
            return None
        if self._files > MAX_FILES:
            if self.whole:
                wrong(f"a spec is made of at most {MAX_FILES} files")
            return None
        reading = self._read(path, name)
        if reading.node is None and reading.problems and reading.problems[0].code == "missing-file":
            # Said where it is asked for: the missing file itself has no text to point into.
            first = reading.problems[0]
            if first in self.problems:
                self.problems.remove(first)
            message = f"`{name}`: {first.message}"
            hint = os.path.relpath(first.suggestion, said.span.source.directory or ".") if first.suggestion else None
            self._fatal(Problem("extends", message, ("extends",), said.span, hint))
            return None
        if self._nodes + reading.count > MAX_NODES:
            if self.whole:
                wrong(f"a spec and what it extends have at most {MAX_NODES:,} values")
            return None
        return self._gather(reading, [*chain, (name, key)])

    def _texts(self, root: Map, key: str) -> list[Scalar]:
        """The strings under a key that holds one or a list of them, read literally."""
        node = root.get(key)
        if node is None:
            return []
        out: list[Scalar] = []
        for item in node.items if isinstance(node, Seq) else (node,):
            if isinstance(item, Scalar) and isinstance(item.value, str) and item.value and "${" not in item.value:
                out.append(item)
                continue
            literal = isinstance(item, Scalar) and isinstance(item.value, str) and bool(item.value)
            message = (
                f"`{key}` is read before ${{…}} is known" if literal else f"`{key}` holds a name or a list of names"
            )
            self._fatal(Problem(key, message, (key,), item.span, fix=f"write `{key}: [{_EXAMPLE[key]}]`"))
        return out


_EXAMPLE = {"extends": "base.yaml", "plugins": "./mine.py"}


def beside(name: str, source: Source) -> str:
    """A path as written in a source, relative to its folder."""
    if name.startswith(SHIPPED) or source.directory is None:
        return name
    if source.name.startswith(SHIPPED):
        return SHIPPED + os.path.normpath(os.path.join(os.path.dirname(source.name.removeprefix(SHIPPED)), name))
    return os.path.normpath(os.path.join(source.directory, os.path.expanduser(name)))


def locate(name: str) -> tuple[Path | None, Problem | None]:
    """Where a spec is: a path as it is, or `blueprint:papers/gpt2.yaml` among those that ship."""
    if not name.startswith(SHIPPED):
        return Path(name), None
    asked, folder = name.removeprefix(SHIPPED), shipped()
    path = folder / asked
    if path.is_file() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return path, None
    # Families lie beside the specs, and are none.
    every = [each.relative_to(folder) for each in sorted(folder.rglob("*.yaml"))]
    known = [each.as_posix() for each in every if each.parts[0] != "families"]
    meant = nearest(asked, known)
    message = f"no spec that ships is called `{asked}`"
    return None, Problem(
        "missing-file", message, span=Span(Source(name)), suggestion=SHIPPED + meant if meant else None
    )


@cache
def shipped() -> Path:
    """The folder of the specs that ship: the installed package's, or the checkout's."""
    package = Path(__file__).resolve().parents[1]
    return package / "_specs" if (package / "_specs").is_dir() else package.parent / "specs"


def joined(file: File, shape: Shape | None) -> Map:
    """A file laid over its bases, which are laid over each other from left to right."""
    below: Node = Map({}, file.root.span)
    for base, place in file.bases:
        inner = joined(base, shape)
        below = merge(below, noted(inner, f"inherited from {inner.span.source.name}, which {place} extends"), shape)
    out = merge(replace(below, span=file.root.span, notes=()), file.root, shape)
    assert isinstance(out, Map)
    return out
