"""The view of a config that a family has: defaults, older spellings, and what was read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase, translate
from typing import Any

from blueprint.diagnosis import Problem, nearest
from blueprint.interop.config import Config, Path_
from blueprint.interop.expression import Missing, said, same
from blueprint.tree import Map, Node, Seq, find, plain


def dotted(path: Path_) -> str:
    """A path as an expression writes it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" if n else step for n, step in enumerate(path))


@dataclass
class View:
    """What a family sees of a config, as `hf.…`; it remembers what was read.

    `worked` gives the value of a node of `defaults` or `inert`, which may hold `${…}`.
    """

    config: Config
    defaults: Map
    aliases: Mapping[str, tuple[str, ...]]
    worked: Callable[[Node], Any]
    used: set[tuple[str, ...]] = field(default_factory=set)
    _active: list[Path_] = field(default_factory=list)

    def get(self, path: Path_) -> tuple[Any, str]:
        """A field's value, and the words that say where it comes from; raises `Missing`."""
        found = self._own(path)
        if found is not None:
            value, place = found
            if isinstance(value, dict):
                value = self._whole(path, value)
            return value, f"`hf.{dotted(path)}` is {said(value)} ({self.config.span(place)})"
        default = self._default(path)
        if default is not None:
            value = self._worked(path, default)
            return value, f"`hf.{dotted(path)}` is {said(value)}, where the config says nothing ({default.span})"
        if self._direct(path, use=True) is not None:
            return None, f"`hf.{dotted(path)}` is null ({self.config.span(path)})"
        raise self._missing(path)

    def said(self, path: Path_) -> bool:
        """Whether the config itself has the field, under any spelling, and it is not null."""
        return self._own(path) is not None

    def touch(self, path: Path_) -> None:
        """Count a field, and all that is in it, as read."""
        for spelling in self.spellings(path):
            if path and self._direct(spelling, use=False) is not None:
                self.used.add(tuple(map(str, spelling)))

    def _direct(self, path: Path_, *, use: bool) -> tuple[Any] | None:
        """What the config holds at exactly this path; a list counts as one leaf."""
        value: Any = self.config.plain
        leaf: list[str] = []
        for step in path:
            if isinstance(value, dict) and str(step) in value:
                value = value[str(step)]
                leaf.append(str(step))
            elif isinstance(value, list) and isinstance(step, int):
                if not -len(value) <= step < len(value):
                    raise Missing(f"`hf.{'.'.join(leaf)}` has {len(value)} items; there is none at {step}")
                if use:
                    self.used.add(tuple(leaf))
                value = value[step]
            else:
                return None
        if use:
            self.used.add(tuple(leaf))
        return (value,)

    def holds(self, path: Path_) -> bool:
        """Whether the config has something other than null at exactly this path."""
        found = self._direct(path, use=False)
        return found is not None and found[0] is not None

    def spellings(self, path: Path_) -> Iterator[Path_]:
        """A path as the config may write it: as it is, then in older ways."""
        yield path
        for cut in range(len(path), 0, -1):
            for old in self.aliases.get(dotted(path[:cut]), ()):
                yield (*old.split("."), *path[cut:])

    def _own(self, path: Path_) -> tuple[Any, Path_] | None:
        """The value under the first spelling that has one; other spellings of the same value count as read, too."""
        first: tuple[Any, Path_] | None = None
        for spelling in self.spellings(path):
            found = self._direct(spelling, use=False)
            if found is None or found[0] is None:
                continue
            if first is None:
                first = found[0], spelling
            # What lies in a map is marked leaf by leaf, as it is read.
            if not isinstance(found[0], dict) and same(found[0], first[0]):
                self._direct(spelling, use=True)
        return first

    def _whole(self, path: Path_, value: dict[str, Any]) -> dict[str, Any]:
        """A map with everything in it read, and with what the family's defaults add."""
        node = self._default(path)
        more = list(node.entries) if isinstance(node, Map) else []
        return {key: self.get((*path, key))[0] for key in dict.fromkeys([*value, *more])}

    def _default(self, path: Path_) -> Node | None:
        for cut in range(len(path), 0, -1):
            node = self.defaults.get(dotted(path[:cut]))
            if node is None:
                continue
            inner, _, taken = find(node, tuple(map(str, path[cut:])))
            if taken == len(path) - cut:
                return inner
        return None

    def _worked(self, path: Path_, node: Node) -> Any:
        if path in self._active:
            circle = " needs ".join(f"hf.{dotted(each)}" for each in [*self._active[self._active.index(path) :], path])
            raise Missing(f"the defaults go in a circle: {circle}")
        self._active.append(path)
        try:
            return self.worked(node)
        finally:
            self._active.pop()

    def _missing(self, path: Path_) -> Missing:
        above: Any = self.config.plain
        for step in path[:-1]:
            above = above.get(str(step)) if isinstance(above, dict) else None
        meant = nearest(str(path[-1]), above) if isinstance(above, dict) else None
        where = self.config.source.name
        return Missing(
            f"{where} has no `{dotted(path)}`",
            suggestion=f"hf.{dotted((*path[:-1], meant))}" if meant else None,
            fix="say under `defaults` what holds where a config leaves it out, or ask `has(…)` first",
        )

    # What was not read.

    def unused(self, inert: Map, ignore: tuple[str, ...]) -> Iterator[Problem]:
        """A problem for every field that nobody read, and that is not without effect at its value."""
        globs = [(key, entry.value) for key, entry in inert.entries.items() if _is_glob(key)]
        # One look for all of them: a config can hold many thousand labels.
        any_glob = re.compile("|".join(translate(each) for key, _ in globs for each in (key, f"{key}.*")))
        for path, value in _leaves(self.config.plain):
            if value is None or path in self.used or any(path[:cut] in self.used for cut in range(1, len(path))):
                continue
            name = ".".join(path)
            if any(name == each or name.startswith(f"{each}.") for each in ignore):
                continue
            above = (inert.get(".".join(path[:cut])) for cut in range(1, len(path) + 1))
            listed = [node for node in above if node is not None]
            if not any(self._inert(node, value) for node in listed) and globs and any_glob.match(name):
                listed += [node for key, node in globs if _covers(key, name)]
            if any(self._inert(node, value) for node in listed):
                continue
            yield self._unread(name, path, value, listed)

    def _inert(self, node: Node, value: Any) -> bool:
        allowed = self.worked(node)
        if allowed == "any":
            return True
        return same(allowed, value) or (isinstance(node, Seq) and any(same(each, value) for each in allowed))

    def _unread(self, name: str, path: tuple[str, ...], value: Any, listed: list[Node]) -> Problem:
        if listed:
            only = " or ".join(said(each) for each in map(plain, listed))
            what = f"`{name}` is {said(value)}; it is known to be without effect at {only} alone"
        else:
            what = f"`{name}: {json.dumps(value) if not isinstance(value, list) else said(value)}` is read by nothing"
        fix = f"use it in the family, list it there under `inert`, or leave it be with `--ignore {name}`"
        return Problem("unused-field", what, path, self.config.span(path), fix=fix)


def _is_glob(key: str) -> bool:
    return any(sign in key for sign in "*?[")


def _covers(pattern: str, name: str) -> bool:
    return any(fnmatchcase(name, each) for each in (pattern, f"{pattern}.*"))


def _leaves(value: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, (*path, key))
        else:
            yield (*path, key), inner
