"""The JSON Schema agrees with the reader: what `check` accepts validates, what is misspelt or mistyped does not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator

from blueprint.load.reader import read, source_of
from blueprint.registry import kinds, members
from blueprint.schema.json_schema import json_schema, required
from blueprint.schema.starter import starter
from blueprint.tree import plain
from tests.conftest import ROOT


def value(text: str) -> Any:
    return plain(read(text, source_of(text, "test")))


SPECS = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if "families" not in path.parts)
SHIPPED = [path for path in SPECS if "model" in value(path.read_text()) or "extends" in value(path.read_text())]

VALIDATOR = Draft202012Validator(json_schema())

WHOLE = """\
model:
  type: decoder
  d_model: 64
  layers: ${calc:'2 * 3'}
  vocab_size: 100
  norm: {type: layer, eps: 1e-6}
  block:
    attention: {heads: 4, qk_norm: {over: head}, mask: [{type: sliding, window: 8}, document], scale: 1/sqrt(head_dim)}
    attention_norm: {bias: false}
    feed_forward: {type: mlp, d_ff: 4 * d_model, activation: gelu}
    feed_forward_norm: null
"""

VARIANTS = """\
  blocks: {local: {attention: {mask: {type: sliding, window: 4}}, feed_forward: {activation: relu}}}
  overrides: {0: {attention: {heads: 8}}, "-1": {feed_forward: {d_ff: 128}}}
  pattern: [local, block]
"""


def valid(spec: Any) -> bool:
    return bool(VALIDATOR.is_valid(spec))


def maps(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all maps below a value."""
    if isinstance(node, dict):
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield from maps(item, (*path, key))


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        node = node[step]
    return node


def named(path: tuple[Any, ...]) -> bool:
    """Whether the keys of the map there are the author's own names."""
    return bool(path) and path[-1] in ("blocks", "overrides")


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_another_validator_finds_the_same() -> None:
    other = jsonschema_rs.validator_for(json_schema())
    for path in SHIPPED:
        spec = value(path.read_text())
        assert other.is_valid(spec), path
        for where in maps(spec):
            if not named(where):
                wrong = copy.deepcopy(spec)
                at(wrong, where)["zzqx"] = 1
                assert not other.is_valid(wrong), (path, where)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        pytest.param("trainer: {max_stepz: 3}", [("trainer",)], id="a key of a section"),
        pytest.param("data: {source: {typo: text}}", [("data", "source")], id="`type` itself, where it must be said"),
        pytest.param(
            "model: {block: {attention: {heads: lots}}}", [("model", "block", "attention", "heads")], id="leaf"
        ),
        pytest.param("optimizer: {type: adam}", [("optimizer", "type")], id="a type"),
        pytest.param("model: {norm: {type: layer, epz: 1}}", [("model", "norm")], id="a key of what may be null"),
    ],
)
def test_a_mistake_is_told_alone_and_where_it_is(text: str, places: list[tuple[str, ...]]) -> None:
    errors = VALIDATOR.iter_errors({"extends": "base.yaml", **value(text)})
    assert [tuple(error.absolute_path) for error in errors] == places


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_shipped_spec_validates(path: Path) -> None:
    errors = [
        f"{'.'.join(map(str, error.path))}: {error.message[:200]}"
        for error in VALIDATOR.iter_errors(value(path.read_text()))
    ]
    assert not errors


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_misspelt_key_is_refused(path: Path) -> None:
    spec = value(path.read_text())
    for where in maps(spec):
        for key in [] if named(where) else list(at(spec, where)):
            wrong = copy.deepcopy(spec)
            inside = at(wrong, where)
            inside[f"{key}x"] = inside.pop(key)
            assert not valid(wrong), (*where, key)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_misspelt_type_and_wrong_kind_of_value_is_refused(path: Path) -> None:
    spec = value(path.read_text())
    free = (
        "name",
        "description",
        "path",
        "prompt",
        "from",
        "extends",
        "plugins",
        "pattern",
        "teacher",
        "pad",
        "template",
        "text",
        "label",
    )
    for where in maps(spec):
        for key, said in at(spec, where).items():
            if isinstance(said, dict | list) or key in free or "${" in str(said):
                continue
            for other in ["no such word"] if isinstance(said, str) else ["no such word", [[]]]:
                wrong = copy.deepcopy(spec)
                at(wrong, where)[key] = other
                assert not valid(wrong), (*where, key, other)


def test_all_that_the_language_offers_validates() -> None:
    assert valid(value(WHOLE))
    assert valid(value(WHOLE + VARIANTS))


@pytest.mark.parametrize("text", [WHOLE + VARIANTS, WHOLE], ids=["with variants", "one layer"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("type: decoder", "type: decodr", id="the kind of model"),
        pytest.param("{bias: false}", "{biass: false}", id="a key of an inherited norm"),
        pytest.param("activation: gelu", "activation: geluu", id="a name"),
        pytest.param("over: head", "over: heed", id="a choice"),
        pytest.param("d_ff: 4 * d_model", "d_ff: 4 * dmodel", id="a name in an expression"),
        pytest.param("layers: ${calc:'2 * 3'}", "layers: 6.5", id="no whole number"),
        pytest.param("layers: ${calc:'2 * 3'}", "layers: six", id="a word for a number"),
        pytest.param("d_model: 64\n", "d_model: null\n", id="null for what must be said"),
    ],
)
def test_what_is_refused_wherever_it_stands(text: str, before: str, after: str) -> None:
    assert before in text
    assert not valid(value(text.replace(before, after)))


@pytest.mark.parametrize(("scale", "good"), [("0", False), ("0.0", False), ("-1.5", True), ("1 / d_model", True)])
def test_what_a_factor_may_be(scale: str, good: bool) -> None:
    assert valid(value(WHOLE.replace("scale: 1/sqrt(head_dim)", f"scale: {scale}"))) == good


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("heads: 4, ", "", id="a required key"),
        pytest.param("[{type: sliding, window: 8}, document]", "sliding", id="a name alone for what needs more"),
        pytest.param("{type: sliding, window: 8}", "{window: 8}", id="another type's field beside the default type"),
    ],
)
def test_a_common_block_must_be_whole_only_where_no_variant_completes_it(before: str, after: str) -> None:
    assert not valid(value(WHOLE.replace(before, after)))
    assert valid(value(WHOLE.replace(before, after) + VARIANTS))


def test_a_variant_may_leave_its_types_to_the_common_block() -> None:
    assert valid(value(WHOLE + VARIANTS.replace("type: sliding, ", "")))
    assert not valid(value(WHOLE + VARIANTS.replace("window: 4", "widow: 4")))
    assert not valid(value(WHOLE + VARIANTS.replace("activation: relu", "activation: rellu")))


def test_what_extends_need_not_be_whole_but_may_not_be_misspelt() -> None:
    assert not valid(value("model: {d_model: 8}"))
    assert valid(value("extends: base.yaml\nmodel: {d_model: 8, block: {attention: {kv_heads: 2, heads: null}}}"))
    assert valid(value("extends: [a.yaml, b.yaml]\ntrainer: null"))
    assert not valid(value("extends: base.yaml\nmodel: {dmodel: 8}"))


def test_every_component_and_field_is_described() -> None:
    defs = json_schema()["$defs"]
    for kind in kinds():
        for cls in members(kind):
            definition = defs.get(f"{kind}.{cls.spec_name}")
            if definition is None:  # a kind that no slot of a spec reaches yet
                continue
            assert definition["description"]
            assert all(each.get("description") for each in definition["properties"].values()), cls
            assert set(definition.get("required", [])) <= required(cls)


def test_the_starter_validates() -> None:
    assert valid(value(starter()))
