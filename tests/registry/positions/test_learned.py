"""Learned positions."""

from __future__ import annotations

import pytest
import torch

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.positions.learned import Learned

SITE = Site(d_model=8, width=8, max_length=6)


def test_a_row_is_chosen_by_the_position_said_not_by_the_index() -> None:
    made = Learned(offset=2).build(SITE)
    said = torch.tensor([[3, 0, 5]])
    assert made.weight.shape == (8, 8)
    assert torch.equal(made(Flow.of(1, 3, position_ids=said)), made.weight[said + 2])


def test_padding_on_the_left_moves_no_position() -> None:
    made = Learned().build(SITE)
    mask = torch.tensor([[0, 0, 1, 1]])
    assert torch.equal(made(Flow.of(1, 4, attention_mask=mask))[:, 2:], made(Flow.of(1, 2)))


def test_a_position_past_the_table_is_named() -> None:
    with pytest.raises(IndexError, match="position 6 has no learned vector: max_length is 6"):
        Learned().build(SITE)(Flow.of(1, 7))


def test_without_a_length_the_spec_is_at_fault() -> None:
    assert Learned().check(SITE) is None
    assert "max_length" in str(Learned().check(Site(d_model=8, width=8)))
