"""T5's learned biases, held against the library's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from blueprint.component import Fault, Site, as_faults
from blueprint_registry.position.t5_bias import T5Bias
from blueprint_registry.position.t5_bias_nn import T5BiasPosition

SITE = Site(d_model=24, width=4, heads=6)
SIZES = [(32, 128, True), (8, 10, True), (12, 7, True), (7, 200, True), (2, 2, True), (32, 17, True)]
SIZES += [(32, 128, False), (8, 10, False), (12, 7, False), (6, 200, False), (4, 2, False), (32, 9, False)]


def built(at: Site = SITE, **said: Any) -> T5BiasPosition:
    made: T5BiasPosition = T5Bias(**said).build(at)
    torch.nn.init.normal_(made.table.weight)
    return made


def faults(at: Site = SITE, **said: Any) -> list[Fault]:
    return list(as_faults(T5Bias(**said).check(at)))


@pytest.mark.parametrize(("buckets", "max_distance", "causal"), SIZES)
def test_it_is_t5s_bias_at_every_distance(buckets: int, max_distance: int, causal: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention, T5Config

    at = replace(SITE, causal=causal)
    assert not faults(at, buckets=buckets, max_distance=max_distance)
    config = T5Config(
        d_model=24,
        d_kv=4,
        num_heads=6,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=max_distance,
        is_decoder=causal,
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    made = built(at, buckets=buckets, max_distance=max_distance)
    theirs.relative_attention_bias.weight = made.table.weight
    q, k = torch.arange(300).expand(2, 300), torch.arange(300).expand(2, 300)
    expected = theirs.compute_bias(300, 300)
    if causal:  # what comes later is hidden: any number will do
        later = torch.ones(300, 300, dtype=torch.bool).triu(1)
        assert torch.equal(made.bias(q, k)[1].masked_fill(later, 0), expected[0].masked_fill(later, 0))
    else:
        assert torch.equal(made.bias(q, k), expected.expand(2, -1, -1, -1))
    one = theirs.compute_bias(1, 41, past_seen_tokens=40)
    assert torch.equal(made.bias(q[:1, 40:41], k[:1, :41]), one)


def test_only_distances_count() -> None:
    made = built()
    q, k = torch.tensor([[3, 500]]), torch.tensor([[0, 3, 490]])
    assert torch.equal(made.bias(q, k), made.bias(q + 1000, k + 1000))


def test_its_table_learns_and_is_all_it_saves() -> None:
    made = built(buckets=8, max_distance=10)
    made.bias(torch.arange(30)[None], torch.arange(30)[None]).square().sum().backward()
    assert {name: tuple(value.shape) for name, value in made.state_dict().items()} == {"table.weight": (8, 6)}
    assert made.table.weight.grad is not None
    assert (made.table.weight.grad.abs() > 0).all()


@pytest.mark.parametrize(
    ("said", "causal", "at", "words"),
    [
        ({"buckets": 7}, False, "buckets", "7 do not suffice"),
        ({"buckets": 2}, False, "buckets", "2 do not suffice"),
        ({"max_distance": 16}, True, "max_distance", "distances below 16 have a bucket each"),
        ({"max_distance": 8}, False, "max_distance", "distances below 8 have a bucket each"),
    ],
)
def test_buckets_that_cannot_be_are_faults(said: dict[str, Any], causal: bool, at: str, words: str) -> None:
    (fault,) = faults(replace(SITE, causal=causal), **said)
    assert fault.at == at
    assert words in fault.message


@pytest.mark.parametrize(
    ("said", "causal"), [({"buckets": 7}, True), ({"max_distance": 17}, True), ({"max_distance": 9}, False)]
)
def test_buckets_that_can_are_none(said: dict[str, Any], causal: bool) -> None:
    assert not faults(replace(SITE, causal=causal), **said)
