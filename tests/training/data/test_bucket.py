"""Batches of one length each: pools hold what they held, wherever reading begins, and less is filled up."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blueprint.training.data.bucket import Bucketed
from blueprint.training.data.dataset import Samples
from blueprint.training.data.encoder import Pairs, joined
from blueprint.training.data.loader import loader
from blueprint.training.data.rows import PairRows
from blueprint.training.data.store import Tokens

from .conftest import Bytes, made_up

Make = Callable[..., Tokens]
END, BATCH, POOL = 256, 4, 5


@pytest.fixture
def tokens(make: Make) -> Tokens:
    return make([(name, joined((text, text.upper()[:30]))) for name, text in made_up(150)], Pairs(Bytes()))


def samples(tokens: Tokens, bucket: int) -> Samples:
    return Samples(tokens.train, PairRows(70, 40, start_id=END), seed=3, batch=BATCH, bucket=bucket)


def test_a_pool_holds_what_it_held_each_batch_of_about_one_length(tokens: Tokens) -> None:
    plain, dealt = (samples(tokens, bucket).order for bucket in (1, POOL))
    lengths = np.diff(tokens.train.starts)
    for pool in (0, 1, 7, 1000):
        places = range(pool * BATCH * POOL, (pool + 1) * BATCH * POOL)
        was, now = ([order[n] for n in places] for order in (plain, dealt))
        assert sorted(was) == sorted(now)
        spans = [sorted(lengths[now[at : at + BATCH]]) for at in range(0, len(now), BATCH)]
        inner = sorted((span[0], span[-1]) for span in spans)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(inner)), "lengths of batches overlap"
        assert inner != [(span[0], span[-1]) for span in spans], "batches come by their length"
    assert isinstance(dealt, Bucketed)
    assert samples(tokens, POOL).order == dealt != samples(tokens, POOL + 1).order


def test_the_order_is_reached_anywhere_and_travels(tokens: Tokens) -> None:
    dealt = samples(tokens, POOL)
    again = pickle.loads(pickle.dumps(dealt))
    places = [5, 10**6, 0, 77, 5]
    assert [dealt.order[n] for n in places] == [again.order[n] for n in reversed(places)][::-1]
    late = next(iter(loader(dealt, batch_size=BATCH, start=9)))
    whole = [batch for batch, _ in zip(loader(dealt, batch_size=BATCH), range(10), strict=False)]
    assert all(torch.equal(late[name], whole[9][name]) for name in late)


def test_sources_and_targets_are_as_wide_as_the_longest_of_a_batch_and_nothing_is_lost(tokens: Tokens) -> None:
    filled: dict[int, int] = {}
    for bucket in (1, POOL):
        given = samples(tokens, bucket)
        filled[bucket] = 0
        for number, batch in enumerate(loader(given, batch_size=BATCH)):
            for mask, names in {
                "attention_mask": ["input_ids"],
                "decoder_attention_mask": ["decoder_input_ids", "labels"],
            }.items():
                assert batch[mask][:, -1].any(), "a column that no row uses"
                filled[bucket] += int((~batch[mask]).sum())
                for row in range(BATCH):
                    alone: Any = given[number * BATCH + row]
                    width = int(alone[mask].sum())
                    for name in names:
                        assert batch[name][row, :width].tolist() == alone[name][:width].tolist()
                        assert batch[name].shape == batch[mask].shape
    assert filled[POOL] < filled[1] / 2


def test_two_processes_read_what_one_reads_each_as_wide_as_it_needs(tokens: Tokens) -> None:
    given = samples(tokens, POOL)
    whole = next(iter(loader(given, batch_size=BATCH)))
    shares = [next(iter(loader(given, batch_size=BATCH, world_size=2, rank=rank))) for rank in range(2)]
    assert torch.equal(torch.cat([share["place"] for share in shares]), whole["place"])
    for share, half in zip(shares, (slice(0, 2), slice(2, 4)), strict=True):
        width = share["input_ids"].shape[1]
        assert torch.equal(share["input_ids"], whole["input_ids"][half, :width])
        assert not whole["attention_mask"][half, width:].any()
