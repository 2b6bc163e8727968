"""Rotary positions: what makes them relative, and which channels turn how fast."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.component import Site
from blueprint_registry.position.rope import Rope

SITE = Site(d_model=32, width=16, heads=2)
PAIRS = ("half", "interleaved")


def rope(**said: Any) -> Any:
    return Rope(**said).build(SITE)


def at(*positions: int) -> torch.Tensor:
    return torch.tensor([positions])


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("fraction", [1.0, 0.5])
@given(m=st.integers(0, 2000), distance=st.integers(0, 300), shift=st.integers(1, 999))
@settings(max_examples=20, deadline=None)
def test_a_score_depends_on_the_distance_alone(pairs: Any, fraction: float, m: int, distance: int, shift: int) -> None:
    made = rope(pairs=pairs, fraction=fraction)
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(m))

    def score(i: int, j: int) -> torch.Tensor:
        return (made.rotate(q, at(i)) * made.rotate(k, at(j))).sum()

    near, far = score(m + distance, m), score(m + distance + shift, m + shift)
    torch.testing.assert_close(near, far, atol=5e-3, rtol=0)


@pytest.mark.parametrize("pairs", PAIRS)
def test_it_rotates_lengths_stay_and_position_zero_is_unmoved(pairs: Any) -> None:
    made, x = rope(pairs=pairs), torch.randn(2, 3, 5, 16)
    position = torch.tensor([[0, 1, 2, 7, 900], [0, 4, 2, 2, 2]])
    y = made.rotate(x, position)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(y[:, :, 0], x[:, :, 0])
    assert not torch.allclose(y[:, :, 1:], x[:, :, 1:])


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_half_and_interleaved_differ_by_a_permutation_of_channels(fraction: float) -> None:
    x, position, width = torch.randn(2, 3, 5, 16), torch.arange(5).expand(2, 5), int(16 * fraction)
    # Channel i of the first half and of the second become neighbours.
    order = [*(c for i in range(width // 2) for c in (i, i + width // 2)), *range(width, 16)]
    half = rope(pairs="half", fraction=fraction).rotate(x, position)
    interleaved = rope(pairs="interleaved", fraction=fraction).rotate(x[..., order], position)
    torch.testing.assert_close(interleaved, half[..., order])


def test_a_fraction_turns_the_first_channels_with_frequencies_of_its_own_width() -> None:
    x, position = torch.randn(1, 2, 5, 16), torch.arange(5)[None]
    y = rope(fraction=0.5).rotate(x, position)
    assert torch.equal(y[..., 8:], x[..., 8:])
    narrow = Rope().build(Site(d_model=32, width=8)).rotate(x[..., :8], position)
    torch.testing.assert_close(y[..., :8], narrow)


@pytest.mark.parametrize("width", [22, 26, 46, 49, 94, 98, 256])
def test_a_width_is_the_fraction_that_gives_it(width: int) -> None:
    for turned in range(2, width + 1, 2):
        filled = Rope(width=turned).filled(Site(d_model=64, width=width))
        assert filled.rotated(Site(d_model=64, width=width)) == turned
        assert filled.width is None
    assert Rope(width=8).filled(SITE) == Rope(fraction=0.5).filled(SITE)


def test_a_width_beside_a_fraction_or_beyond_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match="say the same"):
        Rope(width=8, fraction=0.5)
    assert "16 channels, not 18" in str(Rope(width=18).check(SITE))


def test_the_slowest_pair_turns_by_theta_to_the_width() -> None:
    x = torch.zeros(1, 1, 1, 16)
    x[..., 7] = 1  # the first of the last pair
    y = rope(theta=100.0).rotate(x, at(10))[0, 0, 0]
    torch.testing.assert_close(torch.atan2(y[15], y[7]), torch.tensor(10 * 100.0 ** (-14 / 16)))


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_gradient_is_rotated_back(pairs: Any) -> None:
    made, x = rope(pairs=pairs), torch.randn(1, 2, 4, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: made.rotate(x, torch.arange(4)[None]), (x,))


def test_angles_are_float32_whatever_the_inputs() -> None:
    made, x = rope(), torch.randn(1, 1, 1, 16)
    y = made.bfloat16().rotate(x.bfloat16(), at(1001))
    torch.testing.assert_close(y.float(), rope().rotate(x.bfloat16().float(), at(1001)), atol=0.03, rtol=0.02)


def test_it_survives_copies_the_meta_device_and_changed_positions() -> None:
    with torch.device("meta"):
        made = rope()
    assert not made.state_dict()
    x, position = torch.randn(1, 2, 3, 16), torch.arange(3)[None]
    made = copy.deepcopy(made).to_empty(device="cpu")
    expected = rope().rotate(x, torch.arange(3)[None])
    assert torch.equal(made.rotate(x, position), expected)
    assert torch.equal(made.rotate(x, position + 1), rope().rotate(x, torch.arange(1, 4)[None]))
    assert made.rotate(x.to("meta"), position.to("meta")).shape == x.shape


@pytest.mark.parametrize(
    ("width", "fraction", "word"), [(15, 1.0, "15 rotated"), (16, 0.1, "1 rotated"), (16, 0.05, "nothing")]
)
def test_channels_that_do_not_pair_up_are_a_fault(width: int, fraction: float, word: str) -> None:
    assert Rope().check(SITE) is None
    assert word in str(Rope(fraction=fraction).check(Site(d_model=32, width=width)))
