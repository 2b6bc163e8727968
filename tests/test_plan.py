"""The plan is the model's identity, and a miniature of any model runs here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.model.build import build_plan
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
    ids = torch.randint(0, 50, (2, 16))
    out = model(ids)
    out.logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
