"""The plan is the model's identity, and a miniature of any model runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.model.build import build_plan
from blueprint.model.inputs import sample_inputs
from tests.conftest import ROOT

SPECS = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if "families" not in path.parts)

BASE = """
model:
  type: decoder
  d_model: 64
  layers: 4
  max_length: 128
  vocab_size: 100
  block:
    attention: {heads: 4, mask: {type: sliding, window: 8}}
"""


def planned(text: str, *overrides: str) -> bp.Plan:
    return bp.plan(bp.loads(text, list(overrides)))


@pytest.mark.parametrize(
    "same",
    [
        BASE + "# a comment\nname: other\n",
        BASE.replace("heads: 4, mask: {type: sliding, window: 8}", "mask: {window: 8, type: sliding}, heads: 4"),
        BASE.replace("heads: 4", "heads: 4, kv_heads: 4, head_dim: 16, scale: 0.25"),
        BASE + "  blocks: {same: {}}\n  pattern: [same, block]\n",
        BASE + "  norm: rms\n",
        BASE + "seed: 7\ntrainer: {max_steps: 3}\n",
    ],
)
def test_the_hash_survives_what_does_not_change_the_model(same: str) -> None:
    assert planned(same).hash == planned(BASE).hash


@pytest.mark.parametrize(
    "other",
    [
        "model.layers=5",
        "model.d_model=128",
        "model.block.attention.mask.window=9",
        "model.norm=layer",
        "model.vocab_size=101",
    ],
)
def test_the_hash_changes_with_the_model(other: str) -> None:
    assert planned(BASE, other).hash != planned(BASE).hash


def test_the_pattern_runs_over_the_depth_and_overrides_have_the_last_word() -> None:
    text = (
        BASE
        + "  blocks: {wide: {feed_forward: {d_ff: 99}}}\n  pattern: [block, wide]\n"
        + "  overrides: {'-1': {attention: {kv_heads: 1}}}\n"
    )
    layers = planned(text).stacks["decoder"]
    assert [layer.block.feed_forward.d_ff == 99 for layer in layers] == [False, True, False, True]
    assert [layer.block.attention.kv_heads for layer in layers] == [4, 4, 4, 1]


def test_an_expression_of_the_layer_is_evaluated_in_each() -> None:
    layers = planned(BASE + "    residual: {type: scaled, by: 1 / (layer + 1)}\n").stacks["decoder"]
    assert [layer.block.residual.by for layer in layers] == [1, 1 / 2, 1 / 3, 1 / 4]


def test_layers_that_share_weights_are_one_module() -> None:
    model = bp.build(bp.loads(BASE + "  share: [0, 0, 1, 1]\n"))
    assert model.layers[0] is model.layers[1]
    assert model.layers[1] is not model.layers[2]


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_a_miniature_of_every_spec_learns(path: Path) -> None:
    plan = bp.plan(bp.load(path))
    small = plan.miniature()
    assert {type(part) for _, part, _ in small.parts()} == {type(part) for _, part, _ in plan.parts()}
    model = build_plan(small)
    assert sum(p.numel() for p in model.parameters()) < 2_000_000
    out = model(**sample_inputs(small, 2, 16, generator=torch.Generator().manual_seed(0)))
    out.logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


ODD = {
    "one head of keys": "model.block.attention={heads: 6, kv_heads: 1, head_dim: 10}",
    "a third of the keys": "model.block.attention={heads: 12, kv_heads: 4, head_dim: 64, value_dim: 48}",
    "an odd part of a head turned": "model.block.attention={heads: 4, head_dim: 50, position: {fraction: 0.4}}",
    "an odd head": "model.block.attention={heads: 3, head_dim: 7, position: alibi}",
    "a window longer than the small context": "model.block.attention={heads: 4, mask: {type: sliding, window: 100}}",
    "masks that meet": "model.block.attention={heads: 4, mask: [document, {type: sliding, window: 1}]}",
    "a norm of all heads": "model.block.attention={heads: 8, kv_heads: 2, qk_norm: {over: full, when: after}}",
    "a learned table": "model.embedding.positions={type: learned, offset: 2} model.block.attention.position=none",
    "an expression of the layer": "model.block.residual={type: scaled, by: 1 / (layer + 1)}",
    "shared weights": "model.share=[0,0,0,1,1,1,2,2,2,3,3,3,4,4]",
    "a tied head": "model.head={tie: true, bias: true}",
    "seven in turn": "model.blocks={a: {feed_forward: {d_ff: 512}}, b: {attention: {kv_heads: 1}}} "
    "model.pattern=[block,a,b,b,a,block,b]",
    "single layers": "model.overrides={0: {feed_forward: {type: mlp}}, -1: {attention: {softcap: 9}}}",
}


def odd(name: str) -> bp.Plan:
    text = BASE.replace("layers: 4", "layers: 14").replace("d_model: 64", "d_model: 96")
    text = text.replace(", mask: {type: sliding, window: 8}", "")
    return planned(text, *(f"model.{each}".strip() for each in ODD[name].split("model.") if each))


@pytest.mark.parametrize("name", ODD)
def test_a_miniature_keeps_types_ratios_and_sharing(name: str) -> None:
    plan = odd(name)
    small = plan.miniature()
    assert {type(part) for _, part, _ in small.parts()} == {type(part) for _, part, _ in plan.parts()}
    (layers,), (few,) = plan.stacks.values(), small.stacks.values()
    kinds = {id(layer.block) for layer in layers}
    assert len(few) <= 3 * len(kinds)
    for stack in (layers, few):
        for layer in stack:
            attention = layer.block.attention
            assert (attention.heads % attention.kv_heads, attention.kv_heads <= attention.heads) == (0, True)
    shares = {layer.block.attention.heads > layer.block.attention.kv_heads for layer in layers}
    assert {layer.block.attention.heads > layer.block.attention.kv_heads for layer in few} == shares
    assert any(layer.weights_of != at for at, layer in enumerate(few)) == (name == "shared weights")
    model = build_plan(small).train()
    ids = torch.randint(0, 50, (2, 16))
    model(ids, segment_ids=ids.new_zeros(ids.shape)).logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert small.miniature().hash == small.hash


def test_the_hash_is_the_models_however_the_spec_is_put_together(tmp_path: Path) -> None:
    """Split over files, keys turned round, every default said aloud, written in JSON: one model, one hash."""
    for path in SPECS:
        spec = bp.load(path)
        plain = spec.to_plain()
        parts = tmp_path / path.stem
        parts.mkdir()
        keys = [key for key in ("head", "block", "contrast") if key in plain["model"]]
        for key in keys:
            # JSON is YAML; each file says one part of the model, the last the rest.
            part = {"type": plain["model"]["type"], key: plain["model"].pop(key)}
            (parts / f"{key}.yaml").write_text(json.dumps({"model": part}))
        (parts / "whole.yaml").write_text(json.dumps({**turned(plain), "extends": [f"{key}.yaml" for key in keys]}))
        assert bp.plan(bp.load(parts / "whole.yaml")).hash == bp.plan(spec).hash


def turned(value: Any) -> Any:
    """Every map with its keys the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value
