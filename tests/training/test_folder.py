"""A spec written into a run folder reads back to itself, whatever its strings hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.load.reader import read, source_of
from blueprint.training.folder import IMPORTED, carried_start, yaml_text
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


@pytest.mark.parametrize(
    ("said", "start"),
    [
        (
            {"generation_config.json": '{"decoder_start_token_id": 3}', "config.json": '{"decoder_start_token_id": 4}'},
            3,
        ),
        ({"generation_config.json": "{}", "config.json": '{"decoder_start_token_id": 4}'}, 4),
        ({"generation_config.json": "[1]", "config.json": "broken"}, None),
        ({"config.json": '{"decoder_start_token_id": true}'}, None),
        ({}, None),
    ],
)
def test_what_a_decoder_begins_with_comes_along_with_an_import(
    said: dict[str, str], start: int | None, tmp_path: Path
) -> None:
    record, _, beside = IMPORTED
    (tmp_path / beside).mkdir()
    for name, text in said.items():
        (tmp_path / beside / name).write_text(text)
    assert carried_start(tmp_path) is None
    (tmp_path / record).write_text("{}")
    assert carried_start(tmp_path) == start
    # A checkpoint of a run that began from the import lies two folders down.
    assert carried_start(tmp_path / "checkpoints" / "step=000001.ckpt") == start
