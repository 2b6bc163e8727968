"""Two specs compared by what they mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

import blueprint as bp
from blueprint.diff import ABSENT, Diff, diff

BASE = """\
name: a
model:
  type: decoder
  d_model: 32
  layers: 4
  vocab_size: 64
  max_length: 64
  block:
    attention: {heads: 4, position: {type: rope, theta: 10000}}
    feed_forward: {type: mlp, d_ff: 64}
"""


def compared(*overrides: str) -> Diff:
    return diff(bp.loads(BASE), bp.loads(BASE, overrides=list(overrides)))


def test_the_same_spec_written_otherwise_differs_in_nothing() -> None:
    other = BASE.replace(
        "{heads: 4, position: {type: rope, theta: 10000}}", "{position: rope, heads: 4, kv_heads: 4, head_dim: 8}"
    )
    found = diff(bp.loads(BASE), bp.loads(other))
    assert not any(found.groups.values())
    assert found.weights.answer == "yes"


@pytest.mark.parametrize(
    ("override", "group", "where"),
    [
        ("model.block.attention.position.theta=500000", "architecture", "layers 0–3 attention.position.theta"),
        ("model.block.attention.position=alibi", "architecture", "layers 0–3 attention.position"),
        ("model.overrides={2: {feed_forward: {activation: relu}}}", "architecture", "layer 2 feed_forward.activation"),
        ("model.init.std=0.01", "initialisation", "init.std"),
        ("seed=7", "initialisation", "seed"),
        ("optimizer.lr=0.5", "training", "optimizer.lr"),
        ("model.block.dropout=0.1", "training", "layers 0–3 dropout"),
        ("schedule=cosine", "training", "schedule"),
        ("name=b", "cosmetic", "name"),
        ("model.block.attention.backend=dense", "cosmetic", "layers 0–3 attention.backend"),
        ("checkpoint.keep=9", "cosmetic", "checkpoint.keep"),
        ("trainer.log_every_n_steps=1", "cosmetic", "trainer.log_every_n_steps"),
    ],
)
def test_each_change_is_told_once_in_its_group(override: str, group: str, where: str) -> None:
    found = compared(override)
    assert [change.where for change in found.groups[group]] == [where]
    assert sum(map(len, found.groups.values())) == 1


def test_weights_transfer_where_names_and_shapes_are_the_same() -> None:
    assert compared("model.block.attention.position.theta=500000").weights.answer == "yes"
    wider = compared("model.block.feed_forward.d_ff=128").weights
    assert wider.answer == "partly"
    assert set(wider.reshaped) == {
        "layers.{0–3}.feed_forward.up.weight (64, 32) → (128, 32)",
        "layers.{0–3}.feed_forward.down.weight (32, 64) → (32, 128)",
    }
    assert compared("model.d_model=48").weights.answer == "no"


def test_further_layers_are_told_as_such() -> None:
    found = compared("model.layers=6")
    assert ("layers 4–5", ABSENT, "present") in [(c.where, c.before, c.after) for c in found.architecture]
    assert all(name.startswith("layers.{4–5}.") for name in found.weights.only_after)
    assert not found.weights.reshaped


def test_equal_architectures_are_compared_without_torch() -> None:
    code = (
        "import sys, blueprint as bp; from blueprint.diff import diff; "
        f"a = bp.loads({BASE!r}); diff(a, bp.loads({BASE!r}, overrides=['optimizer.lr=1'])); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
