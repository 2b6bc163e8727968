"""What a family takes for granted where a config is silent is what the transformers library does (rope's base, say)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from blueprint.load.reader import read, source_of
from blueprint.tree import plain
from tests.conftest import ROOT


def family(text: str) -> dict[str, Any]:
    """What the file says."""
    said: dict[str, Any] = plain(read(text, source_of(text, "family")))
    return said


FAMILIES = {path.stem: family(path.read_text()) for path in (ROOT / "specs" / "families").glob("[!_]*.yaml")}
CASES = [
    (name, kind)
    for name, said in FAMILIES.items()
    for kind in [said["match"]["model_type"]]
    for kind in (kind if isinstance(kind, list) else [kind])
    if kind in CONFIG_MAPPING  # some are names that only the checkpoints of old have
]


def literals(said: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that are no expressions, by path."""
    for key, value in said.items():
        if isinstance(value, Mapping) and not any(str(each).startswith("$") for each in value):
            yield from literals(value, (*path, key))
        elif not (isinstance(value, str) and "${" in value) and not isinstance(value, Mapping):
            yield (*path, key), value


@pytest.mark.parametrize(("name", "model_type"), CASES)
def test_defaults_are_the_librarys(name: str, model_type: str) -> None:
    theirs = CONFIG_MAPPING[model_type]().to_dict()
    differ = {}
    for path, value in literals(FAMILIES[name].get("defaults", {})):
        found: Any = theirs
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        if None not in (value, found) and found != value:  # null: worked out elsewhere
            differ[".".join(path)] = (value, found)
    assert not differ, f"(here, there): {differ}"
