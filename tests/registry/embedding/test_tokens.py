"""The token table."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
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


def test_types_of_tokens_are_added_and_are_0_where_nothing_is_said() -> None:
    made = Tokens(token_types=2).build(SITE)
    types = torch.tensor([[0, 1, 1], [1, 0, 0]])
    said = Flow.of(2, 3, token_type_ids=types)
    assert torch.equal(made(IDS, said), made.tokens.weight[IDS] + made.token_types.weight[types])
    assert torch.equal(made(IDS, FLOW), made.tokens.weight[IDS] + made.token_types.weight[0])


def test_narrow_tables_are_summed_and_normed_before_the_projection() -> None:
    said = Tokens(width="d_model / 4", token_types=2, positions={"type": "learned"}, norm={"type": "layer"})
    made = said.filled(SITE).build(SITE)
    assert said.table_width(SITE) == made.tokens.weight.shape[1] == made.positions.weight.shape[1] == 4
    total = made.tokens.weight[IDS] + made.positions.weight[:3] + made.token_types.weight[0]
    torch.testing.assert_close(made(IDS, FLOW), made.projection(F.layer_norm(total, (4,))))


def test_the_sum_of_narrow_tables_may_be_projected_ahead_of_its_norm() -> None:
    said = Tokens(width=4, project="sum", token_types=2, positions={"type": "learned"}, norm={"type": "layer"})
    made = said.filled(SITE).build(SITE)
    total = made.tokens.weight[IDS] + made.positions.weight[:3] + made.token_types.weight[0]
    torch.testing.assert_close(made(IDS, FLOW), F.layer_norm(made.projection(total), (16,)))


def test_tokens_that_are_projected_alone_join_positions_and_types_at_the_models_width() -> None:
    parts = {"token_types": 2, "positions": {"type": "learned"}, "norm": {"type": "layer"}}
    said = Tokens(width=4, project="tokens", projection_bias=False, scale=3, **parts)
    made = said.filled(SITE).build(SITE)
    assert made.projection.bias is None
    total = 3 * made.tokens.weight[IDS] @ made.projection.weight.T
    total = total + made.positions.weight[:3] + made.token_types.weight[0]
    torch.testing.assert_close(made(IDS, FLOW), F.layer_norm(total, (16,)))
    assert sum(p.numel() for p in made.parameters()) == 11 * 4 + 4 * 16 + 9 * 16 + 2 * 16 + 2 * 16


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("{projection_bias: false}", "projection_bias"),
        ("{project: tokens, token_types: 2}", "project"),
        ("{project: tokens, width: 4}", "project"),
        ("{project: tokens, width: 4, norm: layer}", "project"),
        ("{project: sum, width: 4, token_types: 2}", "project"),
    ],
)
def test_a_projection_that_would_not_show_is_refused(said: str, key: str) -> None:
    model = "type: decoder, d_model: 16, layers: 1, max_length: 8, vocab_size: 11, block: {attention: {heads: 2}}"
    with pytest.raises(bp.SpecError) as caught:
        bp.loads(f"model: {{{model}, embedding: {said}}}")
    assert [problem.key for problem in caught.value.problems] == [f"model.embedding.{key}"]


def test_a_width_that_is_said_is_projected_even_where_it_is_the_models() -> None:
    assert Tokens(width=16).build(SITE).projection is not None
    assert Tokens().build(SITE).projection is None


def test_a_miniature_of_narrow_tables_is_narrow() -> None:
    small = Site(d_model=12, width=12, vocab_size=11, max_length=9)
    made = Tokens(width=8, norm={"type": "layer"}).miniature(small).build(small)
    assert made.tokens.weight.shape == (11, 6)
    assert made(IDS, FLOW).shape == (2, 3, 12)


def test_a_missing_vocabulary_is_said_in_plain_words() -> None:
    with pytest.raises(ValueError, match="needs vocab_size"):
        Tokens().build(Site(d_model=16, width=16))
