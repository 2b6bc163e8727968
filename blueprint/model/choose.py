"""Choosing weights by their names: the whole name, or its first steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from blueprint.diagnosis import nearest
from blueprint.rules import Fault


def within(name: str, part: str) -> bool:
    """Whether a name begins with the steps of `part`: `layers.0` begins `layers.0.norm.weight`.

    In a step, `*` stands for any letters: `layers.*.*_norm` begins the norms of every layer. A step `**` stands for any
    number of steps: `**.bias` begins every bias.
    """
    return _begins(name.split("."), part.split("."))


def _begins(steps: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return True
    if parts[0] == "**":
        return any(_begins(steps[skipped:], parts[1:]) for skipped in range(len(steps) + 1))
    return bool(steps) and fnmatchcase(steps[0], parts[0]) and _begins(steps[1:], parts[1:])


def unnamed(names: Iterable[str], part: str, at: str) -> Fault | None:
    """What is wrong with a part that names nothing, said at the key path `at`; None where it names something."""
    names = list(names)
    if any(within(name, part) for name in names):
        return None
    beginnings = {".".join(name.split(".")[:count]) for name in names for count in range(1, name.count(".") + 2)}
    tops = dict.fromkeys(name.split(".")[0] for name in names)
    message = f"no weight's name begins with `{part}` (there are: {', '.join(tops)})"
    return Fault(message, at, suggestion=nearest(part, sorted(beginnings)))
