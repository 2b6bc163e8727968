"""Hash routing: a fixed expert for every id, another in each layer, the same on every machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import blueprint as bp
from blueprint_registry.router.hash import Hash
from tests.registry.router.common import EXPERTS, SITE, dense, flow_of, ids, model_of, tokens


def test_a_token_goes_to_the_expert_of_its_id_whatever_it_is() -> None:
    made = Hash().build(SITE)
    of = torch.randint(50, (3, 8))
    first, second = (dense(made(x, flow_of(x, ids_BT=of))) for x in (tokens(), tokens()))
    assert torch.equal(first, second)
    assert (first.sum(-1) == 1).all()
    assert torch.equal(first.argmax(-1), made.table[of.flatten()])
    assert not list(made.parameters())
    assert not made.state_dict()


@pytest.mark.parametrize("vocabulary", [5, 50, 53, 1000])
def test_every_expert_has_equally_many_ids(vocabulary: int) -> None:
    table = Hash().build(replace(SITE, vocab_size=vocabulary)).table
    counts = table.bincount(minlength=EXPERTS)
    assert counts.max() - counts.min() <= (vocabulary % EXPERTS > 0)


def test_layers_sides_and_seeds_have_tables_of_their_own_and_nothing_else_has() -> None:
    sites = [
        replace(SITE, vocab_size=1000, layer=layer, side=side) for layer in (0, 1) for side in ("encoder", "decoder")
    ]
    tables = [Hash(seed=seed).build(at).table for at in sites for seed in (0, 1)]
    for i, one in enumerate(tables):
        for other in tables[:i]:
            # By chance one id in five goes to the same expert; seven standard deviations are 0.09.
            assert abs((one == other).float().mean() - 0.2) < 0.09
    torch.manual_seed(1)
    assert torch.equal(Hash().build(sites[0]).table, tables[0])


def test_the_table_is_the_same_everywhere() -> None:
    table = Hash(seed=3).build(replace(SITE, vocab_size=12, layer=2)).table
    assert table.tolist() == [2, 4, 0, 0, 4, 3, 0, 1, 2, 1, 1, 3]


def test_a_model_keeps_its_table_through_copies_and_precisions() -> None:
    model = model_of("hash")
    table = model.layers[1].feed_forward.router.table
    assert torch.equal(model.to(torch.bfloat16).layers[1].feed_forward.router.table, table)
    assert not any("table" in name for name in model.state_dict())
    assert model(ids()).logits.isfinite().all()


def test_what_has_no_ids_is_refused() -> None:
    spec = """
model:
  type: encoder
  d_model: 32
  layers: 1
  embedding: {type: patches, image_size: 12, patch_size: 4}
  block: {attention: {heads: 4, position: none}, feed_forward: {type: experts, experts: 4, router: hash}}
  head: {type: classification, labels: 3}
"""
    with pytest.raises(bp.SpecError, match=r"parts of an image have none[\s\S]*top_k"):
        bp.loads(spec)


def test_more_experts_than_ids_are_refused() -> None:
    with pytest.raises(bp.SpecError, match="62 experts cannot each have an id of 61"):
        model_of("hash", experts=62)


@pytest.mark.parametrize("balance", ["expert", "importance", "load"])
def test_there_is_nothing_for_a_balance_to_change(balance: str) -> None:
    with pytest.raises(bp.SpecError, match=f"balance `{balance}` needs"):
        model_of("hash", balance=balance)
