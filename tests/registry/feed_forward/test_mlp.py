"""The plain feed-forward against its formula."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.feed_forward.mlp import Mlp

SITE = Site(d_model=16, width=16)


def build(**said: Any) -> torch.nn.Module:
    made: torch.nn.Module = Mlp(**said).filled(SITE).build(SITE)
    return made


def run(made: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    y, terms = made(x, Flow.of(*x.shape[:2]))
    assert terms == {}
    return y


def test_it_is_its_formula() -> None:
    made, x = build(d_ff=24, activation="relu", bias=True), torch.randn(2, 3, 16)
    up, down = made.up, made.down
    expected = torch.relu(x @ up.weight.T + up.bias) @ down.weight.T + down.bias
    torch.testing.assert_close(run(made, x), expected)


def test_by_default_it_is_four_times_as_wide_with_gelu_and_without_biases() -> None:
    made, x = build(), torch.randn(2, 3, 16)
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {
        "up.weight": (64, 16),
        "down.weight": (16, 64),
    }
    torch.testing.assert_close(run(made, x), F.gelu(x @ made.up.weight.T) @ made.down.weight.T)


def test_what_writes_into_the_stream_is_marked_for_initialisation() -> None:
    made = build()
    assert (made.up.role, made.down.role) == ("linear", "residual")


def test_dropout_acts_in_training_alone() -> None:
    made, x = build(dropout=0.5), torch.randn(2, 3, 16)
    assert not torch.equal(run(made.train(), x), run(made, x))
    assert torch.equal(run(made.eval(), x), run(build_like(made), x))


def build_like(made: torch.nn.Module) -> torch.nn.Module:
    other = build()
    other.load_state_dict(made.state_dict())
    return other


def test_a_norm_inside_is_of_the_hidden_layer() -> None:
    made, x = build(d_ff=24, inner_norm="layer"), torch.randn(2, 3, 16)
    torch.nn.init.normal_(made.inner_norm.weight)
    hidden = F.layer_norm(F.gelu(x @ made.up.weight.T), (24,), made.inner_norm.weight, made.inner_norm.bias, 1e-5)
    torch.testing.assert_close(run(made, x), hidden @ made.down.weight.T)
