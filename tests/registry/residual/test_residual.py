"""How sublayers join the stream."""

from __future__ import annotations

import math

import pytest
import torch

from blueprint.component import Site
from blueprint_registry.residual.gated import Gated
from blueprint_registry.residual.layer_scale import LayerScale
from blueprint_registry.residual.plain import Plain
from blueprint_registry.residual.scaled import Scaled

X, Y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)


def test_plain_is_the_sum() -> None:
    assert torch.equal(Plain().build(Site(d_model=8, width=8))(X, Y), X + Y)


@pytest.mark.parametrize(("by", "layers", "factor"), [(0.22, 2, 0.22), ("1 / sqrt(n_layers)", 16, 0.25), (-1, 1, -1.0)])
def test_scaled_weighs_the_sublayer_alone(by: float | str, layers: int, factor: float) -> None:
    made = Scaled(by=by).build(Site(d_model=8, width=8, layers=layers))
    torch.testing.assert_close(made(X, Y), X + factor * Y)


@pytest.mark.parametrize(("stream", "factor"), [(0.5, 0.5), ("(2 * n_layers) ** 0.25", 2.0)])
def test_scaled_weighs_the_stream_where_that_is_said(stream: float | str, factor: float) -> None:
    site = Site(d_model=8, width=8, layers=8)
    torch.testing.assert_close(Scaled(stream=stream).build(site)(X, Y), factor * X + Y)
    torch.testing.assert_close(Scaled(stream=stream, by=3).build(site)(X, Y), factor * X + 3 * Y)


def test_a_scaled_sum_that_scales_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="is `plain`"):
        Scaled()


@pytest.mark.parametrize(("initial", "value"), [(0.1, 0.1), ("1 / n_layers", 0.25), (1e-6, 1e-6)])
def test_layer_scale_weighs_every_channel_by_its_own(initial: float | str, value: float) -> None:
    made = LayerScale(initial=initial).build(Site(d_model=8, width=8, layers=4))
    torch.testing.assert_close(made(X, Y), X + value * Y)
    weight = torch.nn.init.normal_(made.weight).detach()
    torch.testing.assert_close(made(X, Y), X + weight * Y)
    assert weight.shape == (8,)


@pytest.mark.parametrize("initial", [0, 0.5, "log(n_layers)"])
def test_a_gated_sublayer_joins_as_far_as_its_gate_is_open(initial: float | str) -> None:
    site = Site(d_model=8, width=8, layers=4)
    made = Gated(initial=initial).build(site)
    torch.testing.assert_close(made(X, Y), X + math.tanh(site.number(initial)) * Y)
    (made(X, Y) ** 2).sum().backward()
    assert made.gate.grad.abs().item() > 0
