"""Initial weights have the distributions of their papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from blueprint_registry.init.normal import Normal
from blueprint_registry.init.scaled import Scaled
from blueprint_registry.init.xavier import Xavier

ROLES = ("linear", "residual", "embedding", "head")


def filled(init: Any, role: str, rows: int = 400, columns: int = 300, layers: int = 8, seed: int = 0) -> torch.Tensor:
    tensor = torch.full((rows, columns), math.nan)
    init.fill(role, tensor, columns, rows, torch.Generator().manual_seed(seed), layers)
    return tensor


def is_normal(x: torch.Tensor, std: float) -> bool:
    kurtosis = (x / x.std()).pow(4).mean().item()
    return abs(x.mean()) < 0.02 * std and abs(x.std() / std - 1) < 0.02 and abs(kurtosis - 3) < 0.1


@pytest.mark.parametrize("role", ROLES)
def test_normal_is_the_same_for_every_role(role: str) -> None:
    assert is_normal(filled(Normal(std=0.05), role), 0.05)


@pytest.mark.parametrize("role", ROLES)
def test_scaled_shrinks_what_writes_into_the_stream(role: str) -> None:
    assert is_normal(filled(Scaled(std=0.02), role, layers=8), 0.005 if role == "residual" else 0.02)


@pytest.mark.parametrize("role", ["linear", "residual", "head"])
def test_xavier_is_uniform_with_variance_two_by_the_fans(role: str) -> None:
    x = filled(Xavier(), role)
    bound = math.sqrt(6 / 700)
    assert x.abs().max() <= bound
    assert x.abs().max() > 0.99 * bound
    assert abs(x.var() * 700 / 2 - 1) < 0.02


def test_xavier_gives_table_rows_of_length_about_one() -> None:
    x = filled(Xavier(), "embedding")
    assert is_normal(x, 300**-0.5)
    assert abs(x.norm(dim=1).mean() - 1) < 0.01


@pytest.mark.parametrize("init", [Normal(), Scaled(), Xavier()], ids=lambda init: init.spec_name)
def test_the_generator_alone_decides(init: Any) -> None:
    first = filled(init, "linear")
    torch.rand(5)
    assert torch.equal(filled(init, "linear"), first)
    assert not torch.equal(filled(init, "linear", seed=1), first)
