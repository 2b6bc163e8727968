"""One checkpoint, or one folder of a build, holds a model with experts whole: stacked tensors and the correction."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import blueprint as bp
from blueprint.build_folder import build_folder

from .conftest import MakeSpec

E, D, F = 6, 32, 8
EXPERTS = (
    "{type: experts, experts: 6, expert: {type: gated, d_ff: 8, bias: true}, shared: {type: gated, d_ff: 16},"
    " shared_gate: true, balance: [{type: bias, rate: 0.01}, {type: expert, over: sequence}], router: {type: top_k,"
    " k: 2, score: sigmoid, renormalise: true, correction: score, groups: {count: 3, keep: 2, by: top2_sum}}}"
)
#: What the experts of a layer are held in, one tensor for all of them.
HELD = {
    "router.logits.weight": (E, D),
    "router.correction": (E,),
    **{f"experts.{name}.weight": (E, F, D) for name in ("gate", "up")},
    **{f"experts.{name}.bias": (E, F) for name in ("gate", "up")},
    "experts.down.weight": (E, D, F),
    "experts.down.bias": (E, D),
    **{f"shared.{name}.weight": (16, D) for name in ("gate", "up")},
    "shared.down.weight": (D, 16),
    "shared_gate.weight": (1, D),
}


@pytest.fixture
def spec(make_spec: MakeSpec) -> bp.Spec:
    return make_spec(f"model.block.feed_forward={EXPERTS}", "trainer.max_steps=3")


def held(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    inside = "layers.1.feed_forward."
    return {name.removeprefix(inside): tuple(x.shape) for name, x in state.items() if name.startswith(inside)}


def test_a_checkpoint_alone_gives_the_trained_model_back(spec: bp.Spec, tmp_path: Path) -> None:
    bp.fit(spec, tmp_path / "run", progress=False)
    # Carried elsewhere, without the run it came from.
    alone = shutil.copy(tmp_path / "run" / "checkpoints" / "step=000003.ckpt", tmp_path / "step=000003.ckpt")
    trained = bp.restore(tmp_path / "run")
    ids = torch.arange(24).view(2, 12)
    expected = trained(ids).logits
    shutil.rmtree(tmp_path / "run")
    again = bp.restore(alone)
    assert held(again.state_dict()) == HELD
    assert torch.equal(again(ids).logits, expected)
    begun = bp.build(spec).state_dict()
    moved = {name for name, x in again.state_dict().items() if not torch.equal(x, begun[name])}
    assert {f"layers.1.feed_forward.{name}" for name in HELD} <= moved


def test_a_build_gives_its_model_back(spec: bp.Spec, tmp_path: Path) -> None:
    build_folder(spec, tmp_path / "built", weights=True)
    ours, again = bp.build(spec).state_dict(), bp.restore(tmp_path / "built").state_dict()
    assert held(load_file(tmp_path / "built" / "model.safetensors")) == held(again) == HELD
    assert ours.keys() == again.keys()
    assert all(torch.equal(x, again[name]) for name, x in ours.items())
    # Each expert begins with weights of its own.
    gate_EFD = again["layers.1.feed_forward.experts.gate.weight"]
    assert len({float(each.sum()) for each in gate_EFD}) == E
