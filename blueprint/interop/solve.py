"""A family's template backwards: the config from which a spec would have been filled, proven by filling it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from blueprint.diagnosis import Problem
from blueprint.interop.config import Config, FamilyError
from blueprint.interop.expression import said, same
from blueprint.interop.family import Family, families, read_family
from blueprint.interop.template import Filled, fill
from blueprint.interop.walk import Walk, put
from blueprint.plan import plan
from blueprint.schema.spec import Spec
from blueprint.tree import Map, Scalar
from blueprint.tree import plain as values

#: How often the template is gone through: what one place decides (which layers are of which kind) others may need.
_ROUNDS = 3


def solve(
    spec: Spec, family: Family | None = None, start: Mapping[str, Any] | None = None, ignore: Sequence[str] = ()
) -> Filled:
    """A family filled from the config that says a spec; fields of `start` stay as they are where they are right.

    Without a family, the simplest that ships and can say the model is taken. Raises FamilyError, with the paths that
    would differ, where none can.
    """
    if family is not None:
        return _solved(family, spec, start, ignore)
    refusals: list[_Differs] = []
    for one in sorted(map(read_family, families()), key=lambda each: (len(set(each.fields())), each.name)):
        try:
            return _solved(one, spec, start, ignore)
        except _Differs as refused:
            refusals.append(refused)
        except FamilyError:
            continue
    if refusals:
        raise min(refusals, key=lambda each: each.count)
    message = "no family that ships can say this model"
    raise FamilyError([Problem("export", message, fix="write a family of your own; docs/families.md shows how")])


class _Differs(FamilyError):
    """A family fills another model; `count` is in how many places."""

    def __init__(self, family: Family, rows: list[str]) -> None:
        more = [f"and {len(rows) - 12} more"] if len(rows) > 12 else []
        message = f"no config of the family `{family.name}` says this model; the nearest differs in {len(rows)} places"
        fix = "export with another family, or write one that can say it; docs/families.md shows how"
        super().__init__([Problem("export", message, fix=fix, notes=(*rows[:12], *more))])
        self.count = len(rows)


def _solved(family: Family, spec: Spec, start: Mapping[str, Any] | None, ignore: Sequence[str]) -> Filled:
    proven = plan(spec)
    written = copy.deepcopy(dict(start)) if start is not None else _matching(family)
    walk = Walk(family, written, fresh=start is None)
    for _ in range(_ROUNDS):
        before = copy.deepcopy(written)
        walk.model(proven)
        if written == before:
            break
    try:
        _follow(family, walk, fresh=start is None)
        if start is None:
            _complete(family, written, ignore)
            if "pad_token_id" not in family.fields():
                # Left out, it would be that of the family's first vocabulary, and this one's may not reach so far.
                written["pad_token_id"] = None
        filled = fill(family, Config.of(written), ignore)
    except FamilyError as error:
        message = f"the config by which the family `{family.name}` would say this model has faults"
        raise FamilyError([Problem("export", message), *error.problems]) from None
    # A checkpoint is of a model that has learned: what it learned by, its family need not be able to say.
    ours, theirs = (each.to_plain(means=False, passing=False) for each in (proven, filled.plan))
    differ = _differences(ours, theirs)
    if differ:
        raise _Differs(family, [f"{path}: {said(a)} here, {said(b)} there" for path, a, b in differ])
    return filled


def _matching(family: Family) -> dict[str, Any]:
    """The fields by which a config of the family is told."""
    out: dict[str, Any] = {}
    for key, entry in family.match.entries.items():
        value = values(entry.value)
        put(out, tuple(key.split(".")), value[0] if isinstance(value, list) else value)
    return out


def _follow(family: Family, walk: Walk, *, fresh: bool) -> None:
    """Say what has no effect only where it follows from other fields: left out, it would be the library's own."""
    for key, entry in family.inert.entries.items():
        path = tuple(key.split("."))
        if isinstance(entry.value, Scalar) and "${" in str(entry.value.value) and (fresh or walk.view.said(path)):
            try:
                put(walk.config, path, walk.env.with_().value(entry.value))
            except FamilyError:
                continue  # the fields it follows from are not there


def _complete(family: Family, config: dict[str, Any], ignore: Sequence[str]) -> None:
    """Say of a map that the config says in part what else of it counts: others take it as it stands, or not at all."""
    for key, entry in family.defaults.entries.items():
        found = config.get(key)
        if not isinstance(found, dict) or not isinstance(entry.value, Map):
            continue
        whole = fill(family, Config.of(config), ignore).plan.hash
        for leaf, default in entry.value.entries.items():
            if leaf in found or isinstance(default.value, Map):
                continue
            rest = entry.value.without(leaf)
            defaults = family.defaults.with_entry(replace(entry, value=rest))
            root = family.root.with_entry(replace(family.root.entries["defaults"], value=defaults))
            try:
                counts = fill(replace(family, root=root), Config.of(config), ignore).plan.hash != whole
            except FamilyError:
                counts = True
            if counts:
                found[leaf] = values(default.value)


def _differences(ours: Any, theirs: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = dict.fromkeys([*ours, *theirs])
        found = [_differences(ours.get(k), theirs.get(k), f"{path}.{k}" if path else k) for k in keys]
        return [each for one in found for each in one]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        found = [_differences(a, b, f"{path}.{n}") for n, (a, b) in enumerate(zip(ours, theirs, strict=True))]
        return [each for one in found for each in one]
    return [] if same(ours, theirs) else [(path, ours, theirs)]
