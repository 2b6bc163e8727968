"""Linear biases."""

from __future__ import annotations

import pytest
import torch

from blueprint.component import Site
from blueprint_registry.position.alibi import Alibi
from blueprint_registry.position.alibi_nn import slopes


def test_eight_heads_have_the_papers_slopes() -> None:
    assert slopes(8) == [2.0**-i for i in range(1, 9)]


def test_twelve_heads_take_the_rest_from_sixteen() -> None:
    assert slopes(12) == [*slopes(8), *slopes(16)[:8:2]]


@pytest.mark.parametrize("heads", [1, 2, 3, 5, 6, 12, 16, 20, 71])
def test_any_number_of_heads_has_slopes_of_its_own_in_the_unit_interval(heads: int) -> None:
    found = slopes(heads)
    assert len(set(found)) == heads
    assert all(0 < slope < 1 for slope in found)


def test_the_bias_falls_with_the_distance_of_positions_on_both_sides() -> None:
    made = Alibi().build(Site(d_model=16, width=4, heads=4, causal=False))
    q, k = torch.tensor([[3, 10]]), torch.tensor([[0, 3, 12]])
    expected = -torch.tensor([[3.0, 0.0, 9.0], [10.0, 7.0, 2.0]]) * torch.tensor(slopes(4)).view(4, 1, 1)
    assert torch.equal(made.bias(q, k), expected[None])
    assert not made.state_dict()
