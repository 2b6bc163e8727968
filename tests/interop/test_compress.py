"""Layers said briefly are the same layers: whatever is compressed reads back to the same plan."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint.interop.compress import compress
from blueprint.interop.write_spec import spec_text, written, yaml_text
from blueprint.tree import Source, Span, from_plain, plain
from tests.conftest import ROOT

HERE = Span(Source("here"))
SPECS = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if "families" not in path.parts)


def said(blocks: list[Any], **options: Any) -> dict[str, Any]:
    found = compress([from_plain(block, HERE) for block in blocks], **options)
    return {key: plain(entry.value) for key, entry in found.entries(HERE).items()}


NEAR = {"attention": {"heads": 4, "mask": {"type": "sliding", "window": 8}}}
FAR = {"attention": {"heads": 4, "mask": "full"}}
DENSE = {"attention": {"heads": 4}, "feed_forward": {"type": "mlp", "d_ff": 64}}
GATED = {"attention": {"heads": 4}, "feed_forward": {"type": "gated", "d_ff": 32}}


def test_equal_layers_are_one_block() -> None:
    assert said([NEAR] * 5) == {"block": NEAR}


def test_a_period_is_a_pattern_of_named_variants() -> None:
    assert said([NEAR, NEAR, FAR] * 4) == {
        "block": {"attention": {"heads": 4}},
        "blocks": {
            "sliding": {"attention": {"mask": {"type": "sliding", "window": 8}}},
            "full": {"attention": {"mask": "full"}},
        },
        "pattern": ["sliding", "sliding", "full"],
    }


def test_a_period_may_be_cut_off() -> None:
    assert said(([NEAR] * 5 + [FAR]) * 4 + [NEAR] * 2)["pattern"] == ["sliding"] * 5 + ["full"]


def test_few_odd_layers_are_overrides() -> None:
    assert said([DENSE] * 3 + [GATED] * 58) == {
        "block": GATED,
        "overrides": {str(index): {"feed_forward": DENSE["feed_forward"]} for index in range(3)},
    }
    assert list(said([GATED] * 20 + [DENSE])["overrides"]) == ["-1"]


def test_layers_without_order_are_a_pattern_of_the_full_depth() -> None:
    rng = random.Random(0)
    layers = [rng.choice([NEAR, FAR]) for _ in range(24)]
    assert len(said(layers)["pattern"]) == 24


def test_a_variant_that_adds_nothing_is_the_common_block() -> None:
    plain_layer = {"attention": {"heads": 4}}
    found = said([NEAR, NEAR, plain_layer] * 4)
    assert found["pattern"] == [next(iter(found["blocks"]))] * 2 + ["block"]


def test_two_axes_name_a_variant_by_both() -> None:
    layers = [
        {"attention": {"heads": 4, "mask": mask}, "feed_forward": {"type": kind, "d_ff": 8}}
        for kind in ("mlp", "gated")
        for mask in ("full", {"type": "sliding", "window": 4})
    ]
    assert said(layers * 3)["pattern"] == ["full_mlp", "sliding_mlp", "full_gated", "sliding_gated"]


def test_shared_layers_are_never_set_apart_by_an_override() -> None:
    assert "overrides" not in said([DENSE, DENSE] + [GATED] * 10, shared=True)


MASKS = ["full", {"type": "sliding", "window": 8}, {"type": "sliding", "window": 16}, {"type": "chunked", "chunk": 8}]
POSITIONS = ["none", "rope", {"type": "rope", "theta": 500}, {"type": "rope", "fraction": 0.5}, "alibi"]
NORMS = ["rms", {"type": "rms", "eps": 0.01}, {"type": "layer", "bias": False}]


def blocks() -> st.SearchStrategy[dict[str, Any]]:
    attention = st.fixed_dictionaries(
        {"heads": st.sampled_from([2, 4])},
        optional={
            "kv_heads": st.sampled_from([1, 2]),
            "head_dim": st.sampled_from([8, 16]),
            "bias": st.sampled_from([True, ["q"], False]),
            "scale": st.sampled_from(["1/sqrt(head_dim)", "1 / sqrt(24)", 1, "1/(layer + 1)"]),
            "mask": st.sampled_from(MASKS),
            "position": st.sampled_from(POSITIONS),
            "qk_norm": st.sampled_from([{}, {"over": "full"}, {"norm": NORMS[2]}]),
        },
    )
    feed_forward = st.fixed_dictionaries(
        {"type": st.sampled_from(["mlp", "gated"])},
        optional={"d_ff": st.sampled_from([32, 64, "4 * d_model"]), "activation": st.sampled_from(["silu", "relu"])},
    )
    return st.fixed_dictionaries(
        {"attention": attention},
        optional={
            "type": st.sampled_from(["sequential", "parallel"]),
            "feed_forward": feed_forward,
            "attention_norm": st.sampled_from(NORMS),
            "residual": st.sampled_from(["plain", {"type": "scaled", "by": 0.5}]),
        },
    )


def models() -> st.SearchStrategy[dict[str, Any]]:
    """Models of every order of up to three different layers, with expressions, inherited norms and shared weights."""

    def arranged(drawn: tuple[list[dict[str, Any]], list[int], Any, bool]) -> dict[str, Any]:
        variants, order, norm, share = drawn
        names = [f"b{number % len(variants)}" for number in order]
        model = {
            "type": "decoder",
            "vocab_size": 11,
            "d_model": 32,
            "layers": len(order),
            "max_length": 64,
            "norm": norm,
            "blocks": {name: variants[int(name[1:])] for name in dict.fromkeys(names)},
            "pattern": names,
        }
        return {**model, "share": [int(name[1:]) for name in names]} if share else model

    return st.tuples(
        st.lists(blocks(), min_size=1, max_size=3),
        st.lists(st.integers(0, 2), min_size=1, max_size=12) | st.integers(2, 5).map(lambda k: ([0] * k + [1]) * 3),
        st.sampled_from(NORMS),
        st.booleans(),
    ).map(arranged)


#: A width that the default comes to: once it is gone, the type that is left says nothing either.
SAID = {"attention": {"heads": 2}, "feed_forward": {"type": "gated", "d_ff": "4 * d_model"}}
SIZES = {"vocab_size": 11, "d_model": 32, "layers": 3, "max_length": 64}


@example({"type": "decoder", **SIZES, "blocks": {"b0": SAID}, "pattern": ["b0"] * 3})
@settings(max_examples=25, deadline=None)
@given(models())
def test_any_model_written_reads_back_to_its_plan(model: dict[str, Any]) -> None:
    try:
        spec = bp.load({"model": model})
        plan = bp.plan(spec)
    except bp.SpecError:
        return
    brief = bp.load({"model": written(spec)})
    assert bp.plan(brief).hash == plan.hash
    text = spec_text(spec, plan)
    again = bp.loads(text)
    assert bp.plan(again).hash == plan.hash
    # What is written once is at its shortest: writing it again changes nothing.
    assert spec_text(again, bp.plan(again)) == text


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_that_ship_are_written_no_longer_than_they_are(path: Any) -> None:
    spec = bp.load(path)
    plan = bp.plan(spec)
    text = spec_text(spec, plan, "From a test.")
    assert bp.plan(bp.loads(text)).hash == plan.hash
    rows = lines(path)
    assert len(text.splitlines()) <= 1.5 * len(rows) + 6


def lines(path: Path) -> list[str]:
    """The lines that say something, those of the spec it extends too."""
    found = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    bases = [line.removeprefix("extends:").strip() for line in found if line.startswith("extends:")]
    return [*found, *(line for base in bases for line in lines(path.parent / base))]


def test_what_goes_without_saying_is_not_said() -> None:
    model = {
        "type": "decoder",
        "vocab_size": 11,
        "d_model": 32,
        "layers": 6,
        "norm": {"type": "rms", "eps": 1e-6},
        "block": {
            "type": "sequential",
            "attention": {
                "type": "multi_head",
                "heads": 4,
                "kv_heads": 4,
                "head_dim": 8,
                "scale": 1 / math.sqrt(8),
                "mask": "full",
            },
            "feed_forward": {"type": "mlp", "activation": "relu"},
        },
        "head": {"tie": True},
    }
    spec = bp.load({"model": model})
    text = spec_text(spec, bp.plan(spec))
    for word in ("kv_heads", "head_dim", "scale", "mask", "norm", "sequential", "multi_head", "max_length"):
        assert word not in text
    assert "    attention: {heads: 4}\n    feed_forward: {type: mlp, activation: relu}\n  head: {tie: true}\n" in text


def test_yaml_of_any_text_reads_back() -> None:
    words = [
        "a",
        "sqrt(d_model)",
        "1 / 3",
        "no",
        "yes",
        "null",
        "1e3",
        "a: b",
        "# c",
        "",
        " x",
        "{",
        "[q]",
        "-",
        "ü",
        "x\ny",
    ]
    value = {
        "name": "x",
        "list": words,
        "map": {word or "empty": word for word in words},
        "numbers": [1e-5, 1e20, 0.1, 3.0],
    }
    from blueprint.load.reader import read, source_of

    text = yaml_text(value)
    assert plain(read(text, source_of(text, "x"))) == value
    long = {"factors": [1.0 + index / 7 for index in range(64)]}
    text = yaml_text({"model": long})
    assert plain(read(text, source_of(text, "x"))) == {"model": long}
    assert max(map(len, text.splitlines())) <= 120
