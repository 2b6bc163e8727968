"""Sinusoidal positions: the paper's formula and properties, and how the layouts differ."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.positions.sinusoidal import Sinusoidal

WIDTH = 16
SITE = Site(d_model=WIDTH, width=WIDTH)
LAYOUTS = ("interleaved", "halves", "tensor2tensor")


def table(layout: Any, length: int, start: int = 0) -> torch.Tensor:
    made = Sinusoidal(layout=layout).build(SITE)
    out: torch.Tensor = made(Flow.of(1, length, position_ids=torch.arange(start, start + length)[None]))[0]
    return out


def parts(layout: str, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sines and cosines."""
    if layout == "interleaved":
        return vectors[:, 0::2], vectors[:, 1::2]
    return vectors[:, : WIDTH // 2], vectors[:, WIDTH // 2 :]


def test_interleaved_is_the_papers_formula() -> None:
    expected = torch.zeros(40, WIDTH)
    for pos in range(40):
        for i in range(WIDTH // 2):
            angle = pos / 10000 ** (2 * i / WIDTH)
            expected[pos, 2 * i], expected[pos, 2 * i + 1] = math.sin(angle), math.cos(angle)
    torch.testing.assert_close(table("interleaved", 40), expected, atol=1e-5, rtol=0)


def test_halves_is_a_permutation_of_interleaved() -> None:
    order = [*range(0, WIDTH, 2), *range(1, WIDTH, 2)]
    assert torch.equal(table("halves", 40), table("interleaved", 40)[:, order])


def test_tensor2tensor_falls_from_one_to_exactly_one_in_ten_thousand() -> None:
    sine, cosine = table("tensor2tensor", 2)[1].chunk(2)
    angle = torch.atan2(sine, cosine)
    torch.testing.assert_close(angle[0], torch.tensor(1.0))
    torch.testing.assert_close(angle[-1], torch.tensor(1e-4))
    torch.testing.assert_close(angle[1:] / angle[:-1], torch.full((7,), 1e-4 ** (1 / 7)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shift", [1, 7, 100])
def test_a_shift_is_one_linear_map_for_all_positions(layout: str, shift: int) -> None:
    here, there = parts(layout, table(layout, 60)), parts(layout, table(layout, 60, start=shift))
    # The map is a rotation of every pair, and made of the vector of the shift itself.
    sine, cosine = parts(layout, table(layout, 1, start=shift))
    torch.testing.assert_close(here[0] * cosine + here[1] * sine, there[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(here[1] * cosine - here[0] * sine, there[1], atol=2e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_stored_and_any_device_or_dtype_gives_the_same(layout: Any) -> None:
    with torch.device("meta"):
        made = Sinusoidal(layout=layout).build(SITE)
    assert not list(made.parameters())
    assert not list(made.buffers())
    assert torch.equal(made.bfloat16().to_empty(device="cpu")(Flow.of(1, 5))[0], table(layout, 5))


def test_an_odd_width_is_a_fault() -> None:
    assert Sinusoidal().check(SITE) is None
    assert "15 must be even" in str(Sinusoidal().check(Site(d_model=15, width=15)))


def test_an_offset_counts_from_further_on() -> None:
    later = Sinusoidal(offset=2).build(SITE)(Flow.of(1, 3))
    assert torch.equal(later, Sinusoidal().build(SITE)(Flow.of(1, 5))[:, 2:])
