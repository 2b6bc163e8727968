"""One merge: maps merge, lists replace, null removes, another type replaces a slot whole."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.component import Component, Section, register, slot
from blueprint.load.dump import dump
from blueprint.load.reader import read, source_of
from blueprint.schema.merge import merge
from blueprint.schema.shape import Shape
from blueprint.tree import Node, find, plain


class Gear(Component, kind="merge_test_gear"):
    """A kind for these tests."""


class Oil(Component, kind="merge_test_oil"):
    """A kind that inherits."""

    inherits: ClassVar[bool] = True
    fallback: ClassVar[str | None] = "thin"


@register("thin")
class Thin(Oil):
    """A member."""

    grade: int = 1
    """A number."""


@register("thick")
class Thick(Oil):
    """A member."""

    heat: int = 2
    """A number."""


@register("plain", renamed={"tooth": "teeth"})
class PlainGear(Gear):
    """A member."""

    teeth: int = 8
    """A number."""
    note: str | None = "x"
    """Text or null."""
    oil: Oil = slot(inherit=True)
    """Inherited."""


@register("worm")
class WormGear(Gear):
    """A member."""

    turns: int = 1
    """A number."""
    inner: Gear = slot("plain")
    """A gear."""


class Machine(Section):
    """A section with one slot of each sort."""

    underlay: ClassVar[dict[str, str]] = {"variants": "gear"}

    oil: Oil = slot("thin")
    """What all gears inherit."""
    gear: Gear = slot("plain")
    """The common gear."""
    spare: Gear | None = slot(None)
    """A gear or null."""
    several: Gear | list[Gear] = slot("plain")
    """One or more."""
    variants: dict[str, Gear] = {}
    """Each over `gear`."""
    size: int = 1
    """A number."""


MACHINE = Shape("section", Machine, cls=Machine)


def tree(value: Any, name: str = "spec.yaml") -> Node:
    text = value if isinstance(value, str) else dump(value)
    return read(text, source_of(text, name))


def merged(base: str, over: str, shape: Shape | None = MACHINE) -> Any:
    return plain(merge(tree(base), tree(over), shape))


# No nulls: removing what a later map puts back is not associative, and need not be.
values = st.recursive(
    st.integers(0, 9) | st.text("ab", max_size=2) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(maps)
def test_an_empty_map_changes_nothing(value: dict[str, Any]) -> None:
    base = tree(value)
    assert merge(base, tree({})) == base
    assert plain(merge(tree({}), base)) == value


@given(maps)
def test_merging_a_map_over_itself_changes_nothing(value: dict[str, Any]) -> None:
    assert plain(merge(tree(value), tree(value))) == value


@given(maps, maps, maps)
def test_merging_is_associative_on_plain_maps(a: Any, b: Any, c: Any) -> None:
    # Where a value stands once as a map and once not, the order of replacing matters.
    def kinds(value: Any, path: str = "") -> dict[str, bool]:
        if not isinstance(value, dict):
            return {path: False}
        return {path: True} | {k: v for key in value for k, v in kinds(value[key], f"{path}.{key}").items()}

    seen: dict[str, bool] = {}
    for each in (a, b, c):
        for path, is_map in kinds(each).items():
            if seen.setdefault(path, is_map) != is_map:
                return
    x, y, z = tree(a), tree(b), tree(c)
    assert plain(merge(merge(x, y), z)) == plain(merge(x, merge(y, z)))


@given(maps, maps)
def test_the_upper_map_is_contained_in_the_result(a: dict[str, Any], b: dict[str, Any]) -> None:
    def contained(part: Any, whole: Any) -> bool:
        if isinstance(part, dict) and isinstance(whole, dict):
            return all(key in whole and contained(part[key], whole[key]) for key in part)
        return bool(part == whole)

    assert contained(b, plain(merge(tree(a), tree(b))))


def test_lists_replace_and_null_removes() -> None:
    assert merged("a: [1, 2]\nb: 1\nc: {x: 1, y: 2}", "a: [3]\nb: null\nc: {x: null}", None) == {
        "a": [3],
        "c": {"y": 2},
    }


def test_null_over_nothing_stays_to_be_judged() -> None:
    assert merged("size: 1", "gear: null") == {"size": 1, "gear": None}


def test_null_stays_where_null_means_none() -> None:
    assert merged("spare: worm\ngear: {note: y}", "spare: null\ngear: {note: null}") == {
        "spare": None,
        "gear": {"note": None},
    }
    assert merged("gear: {type: plain, teeth: 3}\nsize: 2", "gear: {teeth: null}\nsize: null") == {
        "gear": {"type": "plain"}
    }


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        # The same effective type, however it is said, merges …
        ("{teeth: 3}", "{note: y}", {"teeth": 3, "note": "y"}),
        ("{teeth: 3}", "{type: plain, note: y}", {"teeth": 3, "type": "plain", "note": "y"}),
        ("{teeth: 3}", "plain", {"teeth": 3}),
        ("plain", "{teeth: 3}", {"type": "plain", "teeth": 3}),
        ("worm", "{turns: 3}", {"type": "worm", "turns": 3}),
        ("{type: worm, turns: 3}", "worm", {"type": "worm", "turns": 3}),
        ("{type: worm, turns: 3}", "{}", {"type": "worm", "turns": 3}),
        ("worm", "{}", "worm"),
        # … another one replaces.
        ("{teeth: 3}", "worm", "worm"),
        ("{teeth: 3}", "{type: worm}", {"type": "worm"}),
        ("{type: worm, turns: 3}", "plain", "plain"),
        ("{type: worm, turns: 3}", "{type: plain, teeth: 1}", {"type": "plain", "teeth": 1}),
        ("{type: worm, inner: {teeth: 2}}", "{inner: worm}", {"type": "worm", "inner": "worm"}),
        # An unknown type replaces too: validation says that it is unknown.
        ("{teeth: 3}", "{type: wrom}", {"type": "wrom"}),
    ],
)
def test_the_effective_type_decides(base: str, over: str, expected: Any) -> None:
    assert merged(f"gear: {base}", f"gear: {over}") == {"gear": expected}


def test_a_slot_without_a_base_takes_its_default_type() -> None:
    assert merged("{}", "gear: {teeth: 3}") == {"gear": {"teeth": 3}}


def test_a_base_that_says_no_type_where_there_is_no_default_merges_into_any() -> None:
    free = Shape("slot", Gear, Gear)
    assert plain(merge(tree("{teeth: 3}"), tree("{type: plain, note: y}"), free)) == {
        "teeth": 3,
        "type": "plain",
        "note": "y",
    }
    assert plain(merge(tree("{type: plain, teeth: 3}"), tree("{note: y}"), free))["teeth"] == 3


def test_a_list_of_members_replaces_and_is_replaced() -> None:
    assert merged("several: plain", "several: [worm, {teeth: 2}]") == {"several": ["worm", {"teeth": 2}]}
    assert merged("several: [worm]", "several: {teeth: 2}") == {"several": {"teeth": 2}}


def test_a_variants_type_is_the_common_ones_where_it_says_none() -> None:
    base = "gear: {type: worm}\nvariants: {a: {turns: 2}}"
    assert merged(base, "variants: {a: {type: worm, inner: plain}}")["variants"] == {
        "a": {"turns": 2, "type": "worm", "inner": "plain"}
    }
    assert merged(base, "variants: {a: {type: plain}}")["variants"] == {"a": {"type": "plain"}}
    # The common part may be left to its default, or be said only in the upper file.
    assert merged("variants: {a: {teeth: 2}}", "variants: {a: {type: plain}}")["variants"]["a"]["teeth"] == 2
    assert merged("variants: {a: {turns: 2}}", "variants: {a: {type: worm}}\ngear: worm")["variants"]["a"]["turns"] == 2


def test_what_is_inside_a_variant_takes_its_type_from_inside_the_common_part() -> None:
    base = "gear: {type: worm, inner: worm}\nvariants: {a: {inner: {turns: 2}}}"
    over = "variants: {a: {inner: {type: worm, inner: plain}}}"
    assert merged(base, over)["variants"]["a"]["inner"]["turns"] == 2


def test_an_inheriting_slot_has_the_inherited_type() -> None:
    base = "oil: thick\ngear: {oil: {heat: 5}}"
    assert merged(base, "gear: {oil: {type: thick}}")["gear"]["oil"] == {"heat": 5, "type": "thick"}
    assert merged(base, "gear: {oil: {type: thin}}")["gear"]["oil"] == {"type": "thin"}
    assert merged("gear: {oil: {grade: 5}}", "gear: {oil: thin}")["gear"]["oil"] == {"grade": 5}


def test_what_is_inherited_may_come_from_the_caller() -> None:
    gear = Shape("slot", Gear, Gear, default="plain")
    base, over = tree("oil: {heat: 5}"), tree("oil: {type: thick}")
    assert plain(merge(base, over, gear, inherited={"merge_test_oil": "thick"})) == {
        "oil": {"heat": 5, "type": "thick"}
    }
    assert plain(merge(base, over, gear)) == {"oil": {"type": "thick"}}


def test_an_old_name_is_read_as_the_new_one_wherever_its_component_stands() -> None:
    over = "gear: {tooth: 3}\nseveral: [{type: plain, tooth: 4}]\nspare: {type: worm, inner: {tooth: 5}}\n"
    out = merge(tree("gear: {teeth: 1}\nvariants: {}"), tree(over + "variants: {a: {tooth: 6}}"), MACHINE)
    assert plain(out) == {
        "gear": {"teeth": 3},
        "variants": {"a": {"teeth": 6}},
        "several": [{"type": "plain", "teeth": 4}],
        "spare": {"type": "worm", "inner": {"teeth": 5}},
    }
    _, entry, _ = find(out, ("gear", "teeth"))
    assert entry is not None
    assert any("`tooth`" in note for note in entry.notes)


def test_both_names_at_once_are_left_to_be_seen() -> None:
    assert merged("{}", "gear: {tooth: 3, teeth: 4}") == {"gear": {"tooth": 3, "teeth": 4}}


def test_every_leaf_keeps_the_place_of_who_said_it_last() -> None:
    base, over = tree("gear:\n  teeth: 3\nsize: 1\n", "base.yaml"), tree("size: 2\ngear: {note: y}", "mine.yaml")
    out = merge(base, over, MACHINE)
    places = {
        path: str(find(out, path)[0].span) for path in [("gear", "teeth"), ("gear", "note"), ("size",), ("gear",)]
    }
    assert places == {
        ("gear", "teeth"): "base.yaml:2:10",
        ("gear", "note"): "mine.yaml:2:14",
        ("size",): "mine.yaml:1:7",
        ("gear",): "base.yaml:2:3",
    }
