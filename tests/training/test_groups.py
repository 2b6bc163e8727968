"""Groups and freezing: what is said of parts holds for these parts and no others, and what means nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.diagnosis import SpecError
from blueprint.model.weights import trained
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec
from tests.training.test_resume import stopped_and_resumed
from tests.training.watching import Crash, Trace, assert_same_run, last_checkpoint

GROUPS = "optimizer.groups=[{parts: [embedding], lr: 0.5, weight_decay: 0.3}, {parts: ['**.weight'], weight_decay: 0}]"


def weights(spec: bp.Spec) -> dict[str, tuple[float | None, float | None]]:
    return {each.name: (each.lr, each.weight_decay) for each in trained(bp.build(spec), spec)}


def test_the_first_group_that_names_a_weight_has_it(make_spec: MakeSpec) -> None:
    found = weights(make_spec(GROUPS, "model.block.attention.bias=true"))
    assert found["embedding.tokens.weight"] == (0.5, 0.3)
    assert found["layers.1.attention.q.weight"] == found["head.weight"] == (None, 0)
    assert found["layers.1.attention.q.bias"] == (None, None)


def test_a_shared_layer_goes_by_either_name(make_spec: MakeSpec) -> None:
    found = weights(make_spec("model.share=[0, 0]", "optimizer.groups=[{parts: [layers.1], lr: 0.5}]"))
    assert found["layers.0.attention.q.weight"] == (0.5, None)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_schedule_multiplies_every_rate(name: str, make_spec: MakeSpec) -> None:
    spec = make_spec(f"optimizer={name}", GROUPS)
    module = bp.compile(spec)
    made = module.configure_optimizers()
    made["optimizer"].step()
    made["lr_scheduler"]["scheduler"].step()
    factor = spec.schedule.factor(1, 8)
    names = {id(parameter): name for name, parameter in module.require_model().named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in made["optimizer"].param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    assert rates["embedding.tokens.weight"] == pytest.approx(0.5 * factor)
    assert rates["layers.0.attention.q.weight"] == pytest.approx(spec.optimizer.lr * factor)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "told", "meant"),
    [
        (
            "optimizer.groups=[{parts: [head, embeding], lr: 1.0}]",
            "no weight's name begins with `embeding`",
            "embedding",
        ),
        ("optimizer.groups=[{parts: [head], lr: 1.0}, {parts: [head.weight], lr: 2.0}]", "nothing is left", None),
        ("optimizer.groups=[{parts: ['**.*_norm'], weight_decay: 1.0}]", "vectors alone", None),
        ("freeze=[layers.2]", "no weight's name begins with `layers.2`", "layers.0"),
        ("freeze=['**']", "nothing is left that learns", None),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_written(
    said: str, told: str, meant: str | None, make_spec: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="1 error") as caught:
        fit(make_spec(said), tmp_path / "run", progress=False)
    (problem,) = caught.value.problems
    assert told in problem.message
    assert problem.suggestion == meant
    assert problem.span is not None
    assert problem.path[0] == said.split("=")[0].split(".")[0]
    assert not (tmp_path / "run" / "spec.yaml").exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("optimizer.groups=[{parts: [head]}]", "the group changes nothing"),
        ("optimizer.groups=[{parts: [], lr: 1.0}]", "parts"),
        ("optimizer={type: muon, rest: {groups: [{parts: [head], lr: 1.0}]}}", "groups are of the whole optimizer"),
    ],
)
def test_what_is_wrong_without_a_model_is_told_without_one(said: str, told: str, make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match=told):
        make_spec(said)


def test_frozen_parts_stay_and_have_no_state(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec("freeze=[embedding, layers.0]")
    begun = bp.build(spec).state_dict()
    fit(spec, tmp_path / "run", progress=False)
    state = bp.restore(tmp_path / "run").state_dict()
    still = {name for name in state if torch.equal(state[name], begun[name])}
    assert still == {name for name in state if name.startswith(("embedding.", "layers.0."))}
    (kept,) = last_checkpoint(tmp_path / "run")["optimizer_states"]
    assert len(kept["state"]) == len(state) - len(still)


def test_a_run_with_frozen_parts_and_groups_goes_on_exactly(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, seen = make_spec("optimizer=muon", "freeze=[layers.0]", GROUPS), Trace()
    fit(spec, tmp_path / "whole", progress=False, callbacks=[seen])
    again = stopped_and_resumed(spec, tmp_path / "broken", Crash(5))
    assert_same_run(tmp_path / "whole", seen, tmp_path / "broken", again)


def test_cost_knows_what_is_frozen(make_spec: MakeSpec) -> None:
    whole, some = bp.cost(make_spec(), 16), bp.cost(make_spec("freeze=[embedding, layers.0]"), 16)
    model = bp.build(make_spec())
    frozen = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("embedding", "layers.0.")))
    assert whole.memory.gradients - some.memory.gradients == 4 * frozen
    assert whole.memory.optimizer is not None
    assert some.memory.optimizer is not None
    assert whole.memory.optimizer - some.memory.optimizer >= 2 * 4 * frozen
    assert some.memory.weights == whole.memory.weights
    assert some.flops_forward == whole.flops_forward
    assert some.flops_training is not None
    assert some.flops_training < whole.flops_training  # type: ignore[operator]
    assert some.memory.activations < whole.memory.activations  # type: ignore[operator]
