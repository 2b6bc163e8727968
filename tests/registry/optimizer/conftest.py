"""Weights of several kinds, and gradients for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from blueprint.ops import Weight


@pytest.fixture
def weights() -> list[Weight]:
    """A tall and a wide matrix, a stack of three, a vector and a table, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "tall": ((8, 4), "linear"),
        "wide": ((4, 8), "residual"),
        "stack": ((3, 4, 6), "linear"),
        "vector": ((5,), ""),
        "table": ((7, 4), "embedding"),
    }
    drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, (shape, _) in shapes.items()}
    return [Weight(name, nn.Parameter(drawn[name]), role, name == "stack") for name, (_, role) in shapes.items()]


@pytest.fixture
def gradients(weights: list[Weight]) -> Iterator[list[torch.Tensor]]:
    """Gradients, step after step."""
    generator = torch.Generator().manual_seed(1)

    def drawn() -> Iterator[list[torch.Tensor]]:
        while True:
            yield [torch.randn(each.parameter.shape, generator=generator, dtype=torch.float64) for each in weights]

    return drawn()
