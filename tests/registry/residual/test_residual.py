"""How sublayers join the stream."""

from __future__ import annotations

import pytest
import torch

from blueprint.component import Site
from blueprint_registry.residual.plain import Plain
from blueprint_registry.residual.scaled import Scaled

X, Y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)


def test_plain_is_the_sum() -> None:
    assert torch.equal(Plain().build(Site(d_model=8, width=8))(X, Y), X + Y)


@pytest.mark.parametrize(("by", "layers", "factor"), [(0.22, 2, 0.22), ("1 / sqrt(n_layers)", 16, 0.25), (0, 1, 0.0)])
def test_scaled_weighs_the_sublayer_alone(by: float | str, layers: int, factor: float) -> None:
    made = Scaled(by=by).build(Site(d_model=8, width=8, layers=layers))
    torch.testing.assert_close(made(X, Y), X + factor * Y)
