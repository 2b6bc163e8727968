"""Spec files: found, decoded and read; what cannot be is said with the nearest name that can."""

from __future__ import annotations

import os
import select
import stat
from dataclasses import replace
from pathlib import Path

from blueprint.diagnosis import Problem, nearest
from blueprint.load.reader import MAX_BYTES, Reading, scan, source_of, whole
from blueprint.tree import Node, Scalar, Source, Span

#: Seconds that are waited for a pipe.
PATIENCE = 1


def read_file(path: str | os.PathLike[str]) -> Node:
    """The tree of a YAML file; raises SpecError with everything that is wrong with it."""
    return whole(scan_file(path))


def scan_file(path: str | os.PathLike[str], name: str | None = None) -> Reading:
    """Read a file of UTF-8; `name` is what diagnoses call it (default: the path as given)."""
    path = Path(path)
    name = str(path) if name is None else name
    source = Source(name, (), str(path.parent))
    try:
        data = _bytes(path)
    except FileNotFoundError:
        return _refused(source, "missing-file", "no such file", suggestion=_neighbour(path))
    except IsADirectoryError:
        return _refused(source, "missing-file", "this is a folder; a spec is a file", suggestion=_inside(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _refused(source, "missing-file", f"cannot be read: {reason}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        lines = data.decode("utf-8", "replace").split("\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        span = Span(replace(source, lines=tuple(lines)), before.count(b"\n") + 1, column)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return Reading(None, [Problem("encoding", message, span=span, fix="save the file as UTF-8")])
    reading = scan(text, source_of(text, name, source.directory))
    if isinstance(reading.node, Scalar) and reading.node.value is None and not text.strip():
        return _refused(source, "empty", "the file is empty; a spec has at least `model:`")
    return reading


def _bytes(path: Path) -> bytes:
    """A file's bytes, as many as are read and one more; raises OSError."""
    # A pipe that nobody writes to would be opened for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            if not select.select([file], [], [], PATIENCE)[0]:
                raise OSError(f"it is a pipe, and nothing comes out of it for {PATIENCE} seconds")
            os.set_blocking(descriptor, True)
        return file.read(MAX_BYTES + 1)


def _refused(source: Source, code: str, message: str, suggestion: str | None = None) -> Reading:
    return Reading(None, [Problem(code, message, span=Span(source), suggestion=suggestion)])


def _neighbour(path: Path) -> str | None:
    """The file in the same folder whose name is nearest."""
    try:
        there = {each.name: each for each in path.parent.iterdir() if each.is_file()}
    except OSError:
        return None
    found = nearest(path.name, [name for name in there if name.endswith((".yaml", ".yml"))])
    return str(there[found]) if found else None


def _inside(path: Path) -> str | None:
    """The spec in a folder, where there is only one."""
    found = [each for pattern in ("*.yaml", "*.yml") for each in path.glob(pattern)]
    return str(found[0]) if len(found) == 1 else None
