"""Plain values as YAML text, laid out as JSON: so that a dict has lines and columns like any spec."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from blueprint.load.reader import MAX_DEPTH

#: What may not stand in a YAML string as it is, though JSON lets it.
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def dump(value: Any, depth: int = 0, path: str = "") -> str:
    """The text of plain values, which reads back to equal ones; raises TypeError or ValueError for what has none."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a spec nests at most {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        special = ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        return float.__repr__(value) if math.isfinite(value) else special
    if isinstance(value, Mapping):
        rows = [dump(str(key)) + ": " + dump(item, depth + 1, f"{path}.{key}") for key, item in value.items()]
        return _enclosed("{", rows, "}", depth)
    if isinstance(value, list | tuple):
        rows = [dump(item, depth + 1, f"{path}.{index}") for index, item in enumerate(value)]
        return _enclosed("[", rows, "]", depth)
    cls = type(value)
    found = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    said = "a spec holds maps, lists, strings, numbers, booleans and null"
    raise TypeError(f"`{path.removeprefix('.')}` is {found}; {said}" if path else f"{said}, not {found}")


def _enclosed(opening: str, rows: list[str], closing: str, depth: int) -> str:
    if not rows:
        return opening + closing
    lead = "\n" + "  " * (depth + 1)
    return opening + lead + f",{lead}".join(rows) + "\n" + "  " * depth + closing
