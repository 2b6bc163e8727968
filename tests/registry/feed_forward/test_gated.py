"""The gated feed-forward against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.feed_forward.gated import Gated

SITE = Site(d_model=16, width=16)
GATES = {"silu": F.silu, "gelu": F.gelu, "sigmoid": torch.sigmoid, "identity": lambda x: x}


@pytest.mark.parametrize("activation", GATES)
def test_it_is_its_formula(activation: str) -> None:
    said = Gated(d_ff=24, activation=activation, bias=True).filled(SITE)
    made, x = said.build(SITE), torch.randn(2, 3, 16)
    gate, up, down = made.gate, made.up, made.down
    hidden = GATES[activation](x @ gate.weight.T + gate.bias) * (x @ up.weight.T + up.bias)
    y, terms = made(x, Flow.of(2, 3))
    torch.testing.assert_close(y, hidden @ down.weight.T + down.bias)
    assert terms == {}
    assert [m.role for m in (gate, up, down)] == ["linear", "linear", "residual"]


@pytest.mark.parametrize("d_model", [64, 256, 1000, 4096])
def test_its_default_width_holds_about_as_many_parameters_as_an_mlp(d_model: int) -> None:
    width = Gated().filled(Site(d_model=d_model, width=d_model)).d_ff
    assert isinstance(width, int)
    assert width % 64 == 0
    assert 0 <= 3 * width - 8 * d_model < 3 * 64


def test_without_biases_there_are_three_matrices() -> None:
    made = Gated(d_ff=24).filled(SITE).build(SITE)
    assert sorted(name for name, _ in made.named_parameters()) == ["down.weight", "gate.weight", "up.weight"]
