"""Parts that belong to a stack: made once for all its layers that say the same of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import blueprint as bp
from blueprint.build_folder import _save
from blueprint.model.build import build_plan, with_hook
from blueprint.training.error import RestoreError
from blueprint.training.restore import load_weights

T5 = {"type": "t5_bias", "buckets": 8, "max_distance": 10}
TABLE = 8 * 4
BASE: dict[str, Any] = {
    "type": "decoder",
    "vocab_size": 61,
    "d_model": 32,
    "layers": 4,
    "block": {"attention": {"heads": 4, "position": T5}},
}


def spec(**changes: Any) -> bp.Spec:
    return bp.load({"model": {**BASE, **changes}})


def position(**changes: Any) -> dict[str, Any]:
    return {"attention": {"position": {**T5, **changes}}}


def tables(model: Any) -> list[nn.Module]:
    return [layer.attention.position.table for layer in model.layers]


def groups(model: Any) -> list[int]:
    """For every layer, the first whose table it uses."""
    found = tables(model)
    return [next(i for i, other in enumerate(found) if other is each) for each in found]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_layers_of_a_stack_share_one_table_named_by_the_first(device: str) -> None:
    shared = bp.build(spec(), device=device)
    own = bp.build(spec(block={"attention": {"heads": 4, "position": {**T5, "scope": "layer"}}}), device=device)
    assert groups(shared) == [0, 0, 0, 0]
    assert groups(own) == [0, 1, 2, 3]
    assert count(own) - count(shared) == 3 * TABLE
    named = [name for name, _ in shared.named_parameters() if "position" in name]
    assert named == ["layers.0.attention.position.table.weight"]


def test_layers_that_differ_elsewhere_share_it_and_those_that_differ_in_it_do_not() -> None:
    windows = {"near": {"attention": {"mask": {"type": "sliding", "window": 4}}}, "far": {"feed_forward": {"d_ff": 48}}}
    assert groups(bp.build(spec(blocks=windows, pattern=["near", "far"]))) == [0, 0, 0, 0]
    assert groups(bp.build(spec(overrides={"1": position(buckets=6), "3": position(buckets=6)}))) == [0, 1, 0, 1]
    assert groups(bp.build(spec(overrides={"2": position(scope="layer")}))) == [0, 0, 2, 0]
    # Two heads need a table of another width.
    assert groups(bp.build(spec(overrides={"0": {"attention": {"heads": 2}}}))) == [0, 1, 1, 1]


def test_layers_of_one_weight_have_one_table_too() -> None:
    model = bp.build(spec(share=[0, 0, 1, 1]))
    assert groups(model) == [0, 0, 0, 0]
    assert model.layers[0] is model.layers[1]
    assert model.layers[0] is not model.layers[2]


def test_two_stacks_and_two_builds_share_nothing() -> None:
    plan = bp.plan(spec())
    (stack,) = plan.stacks.values()
    both = with_hook(replace(plan, stacks={"one": stack, "other": stack})).stacks
    made = [[layer.block.build(layer.site).attention.position.table for layer in layers] for layers in both.values()]
    assert all(table is made[0][0] for table in made[0])
    assert all(table is made[1][0] for table in made[1])
    assert made[0][0] is not made[1][0]
    assert tables(build_plan(plan))[0] is not tables(build_plan(plan))[0]


def test_a_change_of_it_changes_every_layer_and_every_layer_teaches_it() -> None:
    model = bp.build(spec())
    ids = torch.arange(12)[None]
    model(ids).logits.square().mean().backward()
    whole = model.layers[0].attention.position.table.weight.grad.clone()
    model.zero_grad()
    for index in range(1, 4):
        model.layers[index] = copy.deepcopy(model.layers[index])
    model(ids).logits.square().mean().backward()
    parts = [table.weight.grad for table in tables(model)]
    assert all(part.abs().max() > 0 for part in parts)
    torch.testing.assert_close(torch.stack(parts).sum(0), whole)


def test_its_weights_are_written_once_and_come_back(tmp_path: Path) -> None:
    model = bp.build(spec())
    nn.init.normal_(tables(model)[0].weight)
    _save(model, tmp_path / "model.safetensors")
    assert [name for name in load_file(tmp_path / "model.safetensors") if "table" in name] == [
        "layers.0.attention.position.table.weight"
    ]
    fresh = bp.build(spec())
    report = load_weights(fresh, tmp_path / "model.safetensors")
    assert report.whole
    assert not report.unknown
    assert groups(fresh) == [0, 0, 0, 0]
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)
    assert groups(copy.deepcopy(model)) == [0, 0, 0, 0]


def test_tables_of_each_layer_are_not_taken_for_one(tmp_path: Path) -> None:
    own = bp.build(spec(block={"attention": {"heads": 4, "position": {**T5, "scope": "layer"}}}))
    _save(own, tmp_path / "model.safetensors")
    with pytest.raises(RestoreError, match="one weight here, different ones there"):
        load_weights(bp.build(spec()), tmp_path / "model.safetensors")
    report = load_weights(bp.build(spec()), tmp_path / "model.safetensors", strict=False)
    assert report.several == ["layers.0.attention.position.table.weight … layers.3.attention.position.table.weight"]


def test_a_miniature_shares_it_as_the_model_does() -> None:
    small = build_plan(bp.plan(spec(layers=8, overrides={"3": position(buckets=6)})).miniature())
    assert groups(small) == [0, 0, 2]
    small(torch.arange(6)[None]).logits.sum().backward()


def test_cost_counts_it_once() -> None:
    found = bp.cost(spec(layers=12), 8)
    assert found.parameters == count(bp.build(spec(layers=12)))
    (layers,) = found.layers
    assert layers.shared == TABLE
    outside = found.by_part["embedding"] + found.by_part["head"] + 32
    assert 12 * layers.parameters + layers.shared + outside == found.parameters
    assert f"beside {TABLE} of the stack" in str(found)
    own = bp.cost(spec(layers=12, block={"attention": {"heads": 4, "position": {**T5, "scope": "layer"}}}), 8)
    assert own.layers[0].shared == 0
    assert own.parameters == found.parameters + 11 * TABLE


def test_the_plan_tells_of_it_and_its_hash_knows_it() -> None:
    shared, own = (
        bp.plan(spec()),
        bp.plan(spec(block={"attention": {"heads": 4, "position": {**T5, "scope": "layer"}}})),
    )
    assert shared.hash != own.hash
    assert "scope layer" in str(own)
    assert "t5_bias made once, for all layers that say the same" in str(shared)
    assert "made once" not in str(own)
