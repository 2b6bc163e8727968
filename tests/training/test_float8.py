"""Which linear maps multiply in float8, and that torchao's converted ones are the same maps, but for rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.training.error import TrainError
from blueprint.training.float8 import float8_maps, multiply_in_float8

RECIPES = ("tensorwise", "rowwise", "rowwise_with_gw_hp")


def build(device: str = "cpu", float32: list[str] | None = None, **model: Any) -> torch.nn.Module:
    """A small model under bfloat16."""
    said = {"type": "decoder", "d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 64, **model}
    said.setdefault("block", {"attention": {"heads": 2}, "feed_forward": {"type": "mlp", "d_ff": 48}})
    policy = {} if float32 is None else {"precision": {"float32": float32}}
    return bp.build(bp.load({"model": said, "trainer": {"precision": "bf16-true"}, **policy}), device=device).to(
        torch.bfloat16
    )


MAPS = [*(f"attention.{name}" for name in "qkvo"), "feed_forward.up", "feed_forward.down"]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_blocks_maps_are_converted_and_the_head_is_not(device: str) -> None:
    model = build(device)
    found = multiply_in_float8(model, "tensorwise", emulate=True)
    assert found == [f"layers.{layer}.{name}" for layer in range(2) for name in MAPS]
    converted = [name for name, module in model.named_modules() if type(module).__name__ == "Float8Linear"]
    assert converted == found


@pytest.mark.parametrize("kept", [[], ["norm"]])
def test_a_head_that_is_not_kept_is_not_converted_either(kept: list[str]) -> None:
    assert "head" not in dict(float8_maps(build(float32=kept)))


def test_a_router_is_converted_only_where_the_policy_lets_it() -> None:
    experts = {"type": "experts", "experts": 16, "expert": {"d_ff": 16}}
    block = {"attention": {"heads": 2}, "feed_forward": experts}
    routers = [
        [name for name, _ in float8_maps(build(float32=kept, block=block)) if "router" in name]
        for kept in (None, ["norm", "head"])
    ]
    assert routers == [[], [f"layers.{layer}.feed_forward.router.logits" for layer in range(2)]]


@pytest.mark.parametrize("d_ff", [40, 8])
def test_other_widths_than_multiples_of_sixteen_stay(d_ff: int) -> None:
    block = {"attention": {"heads": 2}, "feed_forward": {"type": "mlp", "d_ff": d_ff}}
    assert {name.rpartition(".")[2] for name, _ in float8_maps(build(block=block))} == set("qkvo")


def test_a_model_with_no_such_map_is_an_error() -> None:
    model = build(d_model=24, block={"attention": {"heads": 2}, "feed_forward": {"type": "mlp", "d_ff": 40}})
    with pytest.raises(TrainError, match="both multiples of 16"):
        multiply_in_float8(model, "tensorwise")


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_the_same_model_but_for_rounding_and_learns_through_it(recipe: str) -> None:
    # 21 tokens: no multiple of sixteen.
    ids = torch.randint(64, (3, 7), generator=torch.Generator().manual_seed(0))
    model = build()
    before = model.state_dict()
    names = {name for name, _ in model.named_parameters()}
    exact = model(ids).logits
    exact.square().mean().backward()
    wanted = {name: each.grad.float() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    multiply_in_float8(model, recipe, emulate=True)
    rounded = model(ids).logits
    rounded.square().mean().backward()
    # E4M3 has three bits behind the point: a product's operands are each off by up to 2**-4, its sum by less.
    assert 1e-4 < (rounded - exact).norm() / exact.norm() < 2**-3
    assert {name for name, _ in model.named_parameters()} == names
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, parameter in model.named_parameters():
        # Gradients are E5M2, with two bits, through all layers.
        assert parameter.grad is not None
        assert torch.cosine_similarity(parameter.grad.float().flatten(), wanted[name].flatten(), dim=0) > 0.9, name


def test_what_a_map_is_for_stays_known() -> None:
    model = build()
    roles = {name: each.role for name, each in float8_maps(model)}
    assert set(roles.values()) == {"linear", "residual"}
    multiply_in_float8(model, "rowwise", emulate=True)
    assert {name: model.get_submodule(name).role for name in roles} == roles
