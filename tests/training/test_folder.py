"""A spec written into a run folder reads back to itself, whatever its strings hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.load.reader import read, source_of
from blueprint.training.folder import yaml_text
from blueprint.tree import Map, Node, Scalar, Seq

TRICKY = [
    "no",
    "1e-4",
    "0x1F",
    "null",
    "~",
    "",
    " a",
    "a: b",
    "#x",
    "- x",
    "é\n",
    "\u2028",
    "'",
    '"',
    "${x}",
    "*a",
    "!t",
]
SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
STRINGS = st.sampled_from(TRICKY) | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
KEYS = STRINGS.filter(bool)
VALUES = st.recursive(
    SCALARS | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def plain(node: Node) -> Any:
    if isinstance(node, Map):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back(value: dict[str, Any]) -> None:
    text = yaml_text(value)
    assert plain(read(text, source_of(text, "test"))) == value
