"""A spec written as people write them: in several files, with expressions for numbers that follow from others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueprint.training.folder import yaml_text

Path_ = tuple[str, ...]


def written(said: Mapping[str, Any], folder: Path, lot: random.Random) -> Path:
    """Write a spec into a folder, in one file or as one over another, and return the one to read."""
    said = _referring(said, lot)
    path = folder / "spec.yaml"
    if lot.random() < 0.5:
        path.write_text(yaml_text(said))
        return path
    base, top = _parted(said, lot)
    (folder / "base.yaml").write_text(yaml_text(base))
    path.write_text(yaml_text({"extends": "base.yaml", **top}))
    return path


def _parted(said: Mapping[str, Any], lot: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """What lies below and what is said over it: together the same."""
    base: dict[str, Any] = {}
    top: dict[str, Any] = {}
    for key, value in said.items():
        if isinstance(value, Mapping) and value:
            base[key], over = _parted(value, lot)
            if over:
                top[key] = over
        elif key == "type" or value is None:
            # Null over something takes it away; over another type nothing of the slot below is left.
            base[key] = value
            if key == "type" and lot.random() < 0.5:
                top[key] = value
        else:
            where = lot.choice(("base", "top", "both"))
            if where != "base":
                top[key] = value
            if where != "top":
                # What is said over it counts.
                base[key] = value + 1 if where == "both" and type(value) is int else value
    return base, top


def _referring(said: Mapping[str, Any], lot: random.Random) -> dict[str, Any]:
    """The same with expressions in place of some numbers."""
    numbers = {path: value for path, value in _numbers(said) if all(step.isidentifier() for step in path)}
    known: set[Path_] = set()
    changes: dict[Path_, str] = {}
    for path, value in numbers.items():
        same = [other for other in known if numbers[other] == value and type(numbers[other]) is type(value)]
        if same and lot.random() < 0.3:
            changes[path] = "${" + ".".join(sorted(same)[0]) + "}"
        elif type(value) is int and lot.random() < 0.1:
            changes[path] = "${calc:'" + f"{value + 3} - 3" + "'}"
        else:
            known.add(path)
    return dict(_with(said, (), changes))


def _numbers(node: Any, path: Path_ = ()) -> Iterator[tuple[Path_, int | float]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, (*path, key))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, node


def _with(node: Any, path: Path_, changes: Mapping[Path_, str]) -> Any:
    if isinstance(node, Mapping):
        return {key: _with(value, (*path, key), changes) for key, value in node.items()}
    return changes.get(path, node)
