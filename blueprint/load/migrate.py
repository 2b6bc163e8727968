"""The version of the language: older specs are brought to the present one step at a time, newer ones refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from blueprint.diagnosis import Problem
from blueprint.tree import Entry, Map, Node, Scalar, Seq

CURRENT = 1
KEY = "blueprint"

#: A change of language: a spec of one version to the same spec in the next, places kept.
Migration = Callable[[Map], Map]
MIGRATIONS: dict[int, Migration] = {}


def migration(version: int) -> Callable[[Migration], Migration]:
    """Register the step from `version` to the next; raises ValueError where there is one already."""

    def mark(step: Migration) -> Migration:
        if version in MIGRATIONS:
            raise ValueError(f"the step from version {version} to {version + 1} is registered twice")
        MIGRATIONS[version] = step
        return step

    return mark


def migrate(root: Map) -> tuple[Map, list[Problem]]:
    """The spec in the present version of the language; one that does not say its version is taken for present."""
    said = root.get(KEY)
    if said is None:
        return root, []
    version = said.value if isinstance(said, Scalar) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        message = f"the language's version is a whole number, {CURRENT} at present"
        return root, [Problem("version", message, (KEY,), said.span, fix=f"write `{KEY}: {CURRENT}`")]
    if version > CURRENT:
        message = f"this spec is of version {version} of the language, but this Blueprint reads up to {CURRENT}"
        return root, [Problem("version", message, (KEY,), said.span, fix="install a newer Blueprint")]
    for step in range(version, CURRENT):
        if step not in MIGRATIONS:
            message = f"no way leads from version {step} of the language to version {step + 1}"
            return root, [Problem("version", message, (KEY,), said.span)]
        root = MIGRATIONS[step](root)
    if version < CURRENT:
        now = Scalar(CURRENT, said.span, (f"written for version {version}",))
        root = root.with_entry(replace(root.entries[KEY], value=now))
    return root, []


#: Version 0, the drafts before the first release, named sizes as GPT-2's configuration does.
_DRAFT_NAMES = {"n_layer": "layers", "n_head": "heads", "n_kv_head": "kv_heads", "n_embd": "d_model"}
_DRAFT_REFERENCE = re.compile(rf"\b(?:{'|'.join(_DRAFT_NAMES)})\b")


@migration(0)
def _plain_names(root: Map) -> Map:
    """Sizes by the names they have everywhere: `n_layer`, `n_head`, `n_kv_head` and `n_embd` went."""
    model = root.entries.get("model")
    if model is None:
        return root
    root = root.with_entry(replace(model, value=_renamed(model.value, _DRAFT_NAMES)))
    whole = _renamed(root, {})
    assert isinstance(whole, Map)
    return whole


def _renamed(node: Node, names: dict[str, str]) -> Node:
    """The tree with keys renamed wherever the new name is free, and the names inside `${…}` with them."""
    if isinstance(node, Seq):
        return replace(node, items=tuple(_renamed(item, names) for item in node.items))
    if isinstance(node, Scalar):
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        return replace(node, value=_DRAFT_REFERENCE.sub(lambda found: _DRAFT_NAMES[found[0]], node.value))
    entries: dict[str, Entry] = {}
    for key, entry in node.entries.items():
        new = names.get(key, key)
        value = _renamed(entry.value, names)
        if new != key and new not in node.entries:
            notes = (*entry.notes, f"written as `{key}`, which version 1 calls `{new}`")
            entries[new] = Entry(new, entry.span, value, notes)
        else:
            entries[key] = replace(entry, value=value)
    return replace(node, entries=entries)
