"""A family file read, and laid over the family that it extends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from blueprint.diagnosis import Problem, nearest
from blueprint.interop import outline
from blueprint.interop.config import FamilyError
from blueprint.load.extends import beside
from blueprint.load.files import scan_file
from blueprint.schema.readers import shown
from blueprint.tree import Map, Scalar, plain

#: Where null takes a key of the base away; elsewhere it is a value like any other.
_REMOVES = frozenset({"weights", "tied", "drop", "aliases", "inert", "let", "templates"})
_DEEPEST = 10


def extended(path: str, shipped: Mapping[str, Path], chain: tuple[str, ...] = ()) -> Map:
    """A family's map, laid over that of the family it `extends`; `shipped` are the families that may be meant by name.
    Raises FamilyError for a base that cannot be read, and for families that extend each other in a circle.
    """
    root = read_map(path)
    said = root.get("extends")
    if said is None:
        return root
    if not (isinstance(said, Scalar) and isinstance(said.value, str)):
        raise FamilyError([Problem("extends", "a family extends one other: its name, or its file", span=said.span)])
    base = shipped.get(said.value) or Path(beside(said.value, root.span.source))
    known = (*chain, str(Path(path).resolve()))
    if str(base.resolve()) in known or len(known) > _DEEPEST:
        raise FamilyError([Problem("extends", "families extend each other in a circle", span=said.span)])
    if not base.is_file():
        meant = nearest(said.value, shipped)
        message = f"`{said.value}` is no family that ships, and no file beside this one"
        raise FamilyError([Problem("extends", message, span=said.span, suggestion=meant)])
    below = extended(str(base), shipped, known)
    return _over(below, root.without("extends"), ())


def _over(base: Map, node: Map, path: tuple[str, ...]) -> Map:
    """Maps merge, all else replaces; so does a choice, and a part of another `type`. The model itself is merged: that
    it is an encoder, say, changes nothing in what its layers are."""
    entries = dict(base.entries)
    for key, entry in node.entries.items():
        below, value = entries.get(key), entry.value
        if isinstance(value, Scalar) and value.value is None and path and path[0] in _REMOVES:
            if below is None:
                message = f"null takes away what the family extended says, but it says no `{key}`"
                raise FamilyError([Problem("extends", message, (*path, key), entry.span)])
            del entries[key]
        elif below is not None and isinstance(value, Map) and isinstance(below.value, Map):
            other = (*path, key) != ("model",) and _types_differ(below.value, value)
            whole = other or any(_chooses(each) for each in (value, below.value))
            entries[key] = entry if whole else replace(entry, value=_over(below.value, value, (*path, key)))
        else:
            entries[key] = entry
    return replace(node, entries=entries)


def _chooses(node: Map) -> bool:
    return any(key.startswith("$") for key in node.entries)


def _types_differ(base: Map, node: Map) -> bool:
    types = [plain(each.entries["type"].value) for each in (base, node) if "type" in each.entries]
    return len(types) == 2 and types[0] != types[1]


def read_map(path: str) -> Map:
    """The map in a family file, with places; raises FamilyError where there is none."""
    reading = scan_file(path, shown(path))
    if reading.problems or reading.node is None:
        raise FamilyError(reading.problems)
    if not isinstance(reading.node, Map):
        message = f"a family is a map with {', '.join(f'`{key}`' for key in outline.REQUIRED)}"
        raise FamilyError([Problem("not-a-map", message, span=reading.node.span)])
    return reading.node
