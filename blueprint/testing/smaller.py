"""The smallest spec that still does what a larger one does: parts taken away for as long as it stays so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from blueprint.testing.mended import copied

#: Keys that make a model large, and how small they may become.
SIZES = {"layers": 1, "d_model": 32, "vocab_size": 61, "max_length": 32}


def smallest(said: Mapping[str, Any], still: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
    """A smaller spec of which `still` holds as it does of this one, found within about so many seconds."""
    found: dict[str, Any] = copied(said)
    end = time.monotonic() + seconds
    again = True
    while again and time.monotonic() < end:
        again = False
        # What makes it quick to try comes first.
        for path in sorted(_places(found), key=lambda path: path[-1] not in SIZES):
            for less in _less(found, path):
                if time.monotonic() > end:
                    return found
                if still(less):
                    found, again = less, True
                    break
    return found


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a tree, the larger before what they hold."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in reversed(list(inner)):
        yield (*path, key)
        yield from _places(value, (*path, key))


def _less(said: dict[str, Any], path: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """The spec with less at a place: nothing, a part by its name alone, one layer."""
    *above, last = path
    if _inside(said, above, last) is _ABSENT:
        return
    without = copied(said)
    del _node(without, above)[last]
    yield without
    value = _inside(said, above, last)
    if isinstance(value, dict) and len(value) > 1 and "type" in value and above:
        yield _replaced(said, above, last, value["type"])
    least = SIZES.get(last, value)
    if isinstance(value, int) and value > least:
        yield from (_replaced(said, above, last, size) for size in (least, value // 2, value - 1) if size >= least)


_ABSENT = object()


def _node(said: Any, above: list[Any]) -> Any:
    for step in above:
        said = said[step]
    return said


def _inside(said: Any, above: list[Any], last: Any) -> Any:
    """What stands at a place, or that nothing does: it may have been taken away with what held it."""
    for step in (*above, last):
        known = isinstance(said, dict) and step in said
        if not known and not (isinstance(said, list) and isinstance(step, int) and step < len(said)):
            return _ABSENT
        said = said[step]
    return said


def _replaced(said: dict[str, Any], above: list[Any], last: Any, value: Any) -> dict[str, Any]:
    out: dict[str, Any] = copied(said)
    _node(out, above)[last] = value
    return out
