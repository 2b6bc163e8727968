"""Layers written out become what a person writes: a common block, variants, a pattern over the depth, overrides.

The inverse of `blueprint.schema.layers`. It works on trees, so that the layers of a filled template keep their places.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blueprint.schema.layers import COMMON
from blueprint.tree import Entry, Map, Node, Scalar, Seq, Span, plain

#: What one override costs, in names of a pattern: it is a map of its own, and tells of one layer.
_OVERRIDE = 3


class _Apart(Exception):
    """One tree cannot be said as changes to another, because a change removes nothing."""


@dataclass(frozen=True)
class Layers:
    """Layers in the language of specs; what is empty is not said."""

    block: Node
    blocks: dict[str, Node]
    pattern: list[str]
    overrides: dict[str, Node]

    def entries(self, span: Span) -> dict[str, Entry]:
        """The keys of a stack that say these layers, all at one place; the trees inside keep their own."""

        def entry(key: str, value: Node) -> Entry:
            return Entry(key, span, value)

        def named(nodes: Mapping[str, Node]) -> Node:
            return Map({key: entry(key, node) for key, node in nodes.items()}, span)

        out: dict[str, Entry] = {}
        if not isinstance(self.block, Map) or self.block.entries:
            out["block"] = entry("block", self.block)
        if self.blocks:
            out["blocks"] = entry("blocks", named(self.blocks))
        if self.pattern:
            out["pattern"] = entry("pattern", Seq(tuple(Scalar(name, span) for name in self.pattern), span))
        if self.overrides:
            out["overrides"] = entry("overrides", named(self.overrides))
        return out


def gathered(blocks: Sequence[Node], span: Span, *, shared: bool = False) -> dict[str, Entry]:
    """The keys of a stack, such as `block` and `pattern`, that say the blocks of all its layers.

    Layers that are `shared` in groups are named by a pattern alone, as an override would set a layer apart.
    """
    return compress(blocks, shared=shared).entries(span)


def compress(
    blocks: Sequence[Node], *, whole: Sequence[Any] | None = None, shared: bool = False, plainly: bool = False
) -> Layers:
    """The shortest form of the blocks of all layers that a person would write.

    `whole` are the same blocks with their defaults, from which variants get their names; `plainly` keeps every
    variant whole, under a pattern of the full depth, where nothing can go wrong.
    """
    keys = [json.dumps(plain(block), sort_keys=True) for block in blocks]
    ids = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    order = [ids[key] for key in keys]
    firsts = [blocks[keys.index(key)] for key in ids]
    words = [plain(block) if whole is None else whole[keys.index(key)] for key, block in zip(ids, firsts, strict=True)]
    if len(firsts) == 1:
        return Layers(firsts[0], {}, [], {})
    if plainly:
        names = [f"layer_{number}" for number in range(len(firsts))]
        empty = Map({}, firsts[0].span)
        return Layers(empty, dict(zip(names, firsts, strict=True)), [names[number] for number in order], {})
    for period, odd in _choices(order, shared):
        try:
            return _said(order, firsts, words, period, odd)
        except _Apart:
            continue
    raise AssertionError("a pattern of the full depth can always be said")


def _choices(order: list[int], shared: bool) -> list[tuple[list[int], dict[int, int]]]:
    """Patterns with the layers that they do not fit, cheapest first; the last is the full depth, which fits all."""
    count = len(order)
    found: list[tuple[int, int, list[int], dict[int, int]]] = []
    for length in [*range(1, count // 2 + 1), count]:
        # Of the layers at one place of the pattern, the most say what stands there.
        pattern = [Counter(order[start::length]).most_common(1)[0][0] for start in range(length)]
        odd = {index: number for index, number in enumerate(order) if number != pattern[index % length]}
        if len(odd) <= max(1, count // 8) and not (odd and shared):
            found.append((length + _OVERRIDE * len(odd), length, pattern, odd))
    return [(pattern, odd) for *_, pattern, odd in sorted(found, key=lambda each: each[:2])]


def _said(order: list[int], firsts: list[Node], words: list[Any], pattern: list[int], odd: dict[int, int]) -> Layers:
    used = list(dict.fromkeys(pattern))
    if len(used) == 1:
        common, blocks, names = firsts[used[0]], {}, {}
    else:
        common = firsts[used[0]]
        for number in used[1:]:
            common = _common(common, firsts[number]) or Map({}, common.span)
        changes = {number: _changes(firsts[number], common) for number in used}
        told = _names([words[number] for number in used])
        names = {n: COMMON if changes[n] is None else told[index] for index, n in enumerate(used)}
        blocks = {names[n]: change for n, change in changes.items() if change is not None}
    overrides: dict[str, Node] = {}
    for index, number in odd.items():
        change = _changes(firsts[number], firsts[pattern[index % len(pattern)]])
        assert change is not None
        # Near its end, a stack is counted from there.
        overrides[str(index if 2 * index < len(order) or index < len(order) - 3 else index - len(order))] = change
    return Layers(common, blocks, [names[n] for n in pattern] if blocks else [], overrides)


# Trees under the merge of `blueprint.schema.merge`.


def _type(node: Node) -> object:
    inner = node.get("type") if isinstance(node, Map) else node
    return inner.value if isinstance(inner, Scalar) else None


def _bare(node: Node) -> Map | None:
    """A shorthand written out: `rms` means `{type: rms}`."""
    if isinstance(node, Map):
        return node
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Map({"type": Entry("type", node.span, node)}, node.span)
    return None


def _equal(a: Node, b: Node) -> bool:
    return json.dumps(plain(a), sort_keys=True) == json.dumps(plain(b), sort_keys=True)


def _common(a: Node, b: Node) -> Node | None:
    """What two trees both say, of one type; None where that is nothing."""
    if _equal(a, b):
        return a
    left, right = _bare(a), _bare(b)
    if left is None or right is None or _type(left) != _type(right) or not (isinstance(a, Map) or isinstance(b, Map)):
        return None
    entries: dict[str, Entry] = {}
    for key, entry in left.entries.items():
        other = right.get(key)
        shared = _common(entry.value, other) if other is not None else None
        if shared is not None:
            entries[key] = replace(entry, value=shared)
    return replace(left, entries=entries) if entries else None


def _changes(over: Node, base: Node) -> Node | None:
    """What, merged over `base`, gives `over`; None for nothing. Raises `_Apart` where something would have to go."""
    if _equal(over, base):
        return None
    if isinstance(base, Map) and not base.entries:
        return over
    if not isinstance(over, Map) and not isinstance(base, Map):
        return over
    left, right = _bare(over), _bare(base)
    if left is None or right is None:
        return over
    if _type(left) != _type(right):
        # Another type replaces whole; where only one of two says its type, they may be the same.
        if _type(left) is None or _type(right) is None:
            raise _Apart
        return over
    if right.entries.keys() - left.entries.keys():
        raise _Apart
    entries: dict[str, Entry] = {}
    for key, entry in left.entries.items():
        below = right.get(key)
        change = entry.value if below is None else _changes(entry.value, below)
        if change is not None:
            entries[key] = replace(entry, value=change)
    return replace(left, entries=entries) if entries else None


# Names.


def _names(variants: list[Any]) -> list[str]:
    """A telling name for each variant, from what tells it from the others: a type's name, else a value."""
    flat = [dict(_words(variant, ())) for variant in variants]
    paths = list(dict.fromkeys(path for each in flat for path in each))
    telling = [path for path in paths if len({each.get(path) for each in flat}) > 1]
    types = [path for path in telling if all(isinstance(each.get(path, ""), str) for each in flat)]
    for chosen in (each for count in (1, 2, 3) for each in itertools.combinations(types, count)):
        names = ["_".join(filter(None, (_word(each.get(path), path) for path in chosen))) for each in flat]
        if len(set(names)) == len(names) and all(name.isidentifier() and name != COMMON for name in names):
            return names
    for path in filter(None, telling):
        names = [f"{path[-1]}_{each.get(path)}".replace(".", "_").replace("-", "_") for each in flat]
        if len(set(names)) == len(names) and all(name.isidentifier() for name in names):
            return names
    return [f"variant_{number}" for number in range(len(variants))]


def _word(value: Any, path: tuple[str, ...]) -> str:
    """What a type is called in a name: `none` alone would not say of what."""
    return f"no_{path[-1]}" if path and value in (None, "none") else str(value)


def _words(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _words(inner, path if key == "type" else (*path, key))
    elif isinstance(value, list):
        yield path, "_".join(str(item.get("type") if isinstance(item, dict) else item) for item in value)
    else:
        yield path, value
