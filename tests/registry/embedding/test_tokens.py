"""The token table."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.embedding.tokens import Tokens

SITE = Site(d_model=16, width=16, vocab_size=11, max_length=9)
IDS = torch.tensor([[1, 2, 3], [3, 3, 10]])
FLOW = Flow.of(2, 3)


def test_alone_it_looks_up_rows() -> None:
    made = Tokens().build(SITE)
    assert torch.equal(made(IDS, FLOW), made.tokens.weight[IDS])
    assert [name for name, _ in made.named_parameters()] == ["tokens.weight"]


def test_tokens_are_scaled_before_positions_are_added_and_the_sum_is_normed() -> None:
    said = Tokens(scale="sqrt(d_model)", positions={"type": "learned", "offset": 2}, norm={"type": "layer"})
    made = said.filled(SITE).build(SITE)
    expected = 4 * made.tokens.weight[IDS] + made.positions.weight[2:5]
    torch.testing.assert_close(made(IDS, FLOW), F.layer_norm(expected, (16,)))
    assert {"tokens.weight", "positions.weight", "norm.weight", "norm.bias"} == set(made.state_dict())


def test_dropout_acts_in_training_alone() -> None:
    made = Tokens(dropout=0.5).build(SITE)
    assert (made.train()(IDS, FLOW) == 0).any()
    assert torch.equal(made.eval()(IDS, FLOW), made.tokens.weight[IDS])


def test_a_missing_vocabulary_is_said_in_plain_words() -> None:
    with pytest.raises(ValueError, match="needs vocab_size"):
        Tokens().build(Site(d_model=16, width=16))
