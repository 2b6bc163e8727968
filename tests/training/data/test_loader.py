"""Batches depend on the seed and their number alone: not on workers, ranks, or where reading began."""

import itertools
import os
import pickle
import signal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint.training.data import DataError
from blueprint.training.data.dataset import Samples
from blueprint.training.data.loader import batches_per_epoch, loader
from blueprint.training.data.packing import IGNORE, Continuous, Single

SHARED = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
PACKING = Continuous(16, documents="separate", positions="restart")


@pytest.fixture
def shuffled(tokens) -> Samples:
    return Samples(tokens.train, PACKING, seed=5)


@pytest.fixture
def stored(tokens) -> Samples:
    return Samples(tokens.validation, PACKING, seed=None)


def same(ones, others) -> bool:
    ones, others = list(ones), list(others)
    return len(ones) == len(others) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(ones, others, strict=True)
    )


def joined(shares):
    return {name: torch.cat([share[name] for share in shares]) for name in shares[0]}


def stream(samples, batches, **how):
    """`batches` batches over as many epochs as that takes."""
    how.setdefault("batch_size", 6)
    at, found = how.pop("start", 0), []
    while len(found) < batches:
        found += loader(samples, start=at + len(found), **how)
    return found[:batches]


@pytest.mark.parametrize(("workers", "context"), [(1, "fork"), (2, "fork"), (2, "spawn")])
def test_batches_do_not_depend_on_workers(shuffled, stored, workers: int, context: str) -> None:
    for samples in (shuffled, stored):
        expected = list(loader(samples, batch_size=6, start=1))
        assert same(loader(samples, batch_size=6, start=1, workers=workers, context=context), expected)


@SHARED
@given(st.integers(0, 60), st.integers(1, 9))
def test_reading_from_any_batch_gives_the_tail_of_the_whole(shuffled, start: int, batch_size: int) -> None:
    whole = stream(shuffled, start + 5, batch_size=batch_size)
    assert same(stream(shuffled, 5, batch_size=batch_size, start=start), whole[start:])


def test_a_resumed_stored_order_gives_what_is_left(stored) -> None:
    whole = list(loader(stored, batch_size=4))
    for start in range(len(whole)):
        assert same(loader(stored, batch_size=4, start=start), whole[start:])
    assert same(loader(stored, batch_size=4, start=3 * len(whole)), whole)


@SHARED
@given(st.sampled_from([2, 3, 4]), st.integers(1, 3), st.integers(0, 30))
def test_ranks_together_read_what_one_reads(shuffled, world_size: int, share: int, start: int) -> None:
    how = {"batch_size": world_size * share, "start": start}
    ranks = [stream(shuffled, 4, world_size=world_size, rank=rank, **how) for rank in range(world_size)]
    assert same(map(joined, zip(*ranks, strict=True)), stream(shuffled, 4, **how))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_last_short_batch_with_rows_that_count_for_nothing(tokens, world_size: int) -> None:
    every = (Samples(tokens.validation, Continuous(length), seed=None) for length in range(8, 30))
    stored, size = next(samples for samples in every if len(samples) % 2), 8
    one = list(loader(stored, batch_size=size))
    ranks = [list(loader(stored, batch_size=size, world_size=world_size, rank=r)) for r in range(world_size)]
    together = list(map(joined, zip(*ranks, strict=True)))
    real = [{name: array[batch["place"] >= 0] for name, array in batch.items()} for batch in together]
    assert same(real, one)
    filler = together[-1]["labels"][together[-1]["place"] < 0]
    assert len(filler)
    assert (filler == IGNORE).all()
    assert len({len(rank[-1]["place"]) for rank in ranks}) == 1


def test_shuffled_batches_drop_nothing_over_the_epochs(shuffled) -> None:
    count = len(shuffled)
    size = next(s for s in range(5, 99) if count % s)
    places = torch.cat([batch["place"] for batch in stream(shuffled, 3 * count // size + 1, batch_size=size)]).tolist()
    for epoch in range(3):
        assert sorted(places[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_data_smaller_than_a_batch_go_round(shuffled) -> None:
    (batch,) = loader(shuffled, batch_size=2 * len(shuffled))
    assert torch.bincount(batch["place"]).tolist() == [2] * len(shuffled)


def test_one_loader_serves_every_epoch_if_told_where_training_is(shuffled) -> None:
    done = 2
    reading = loader(shuffled, batch_size=6, start=lambda: done)
    epoch = batches_per_epoch(shuffled, 6)
    assert len(reading) == epoch  # a whole one's, even where less is left
    found = list(reading)
    assert len(found) == epoch - 2
    done = epoch
    found += list(reading)
    assert same(found, stream(shuffled, 2 * epoch - 2, start=2))


def test_seeds_give_other_batches(tokens, shuffled) -> None:
    other = Samples(tokens.train, PACKING, seed=6)
    assert not same(loader(shuffled, batch_size=6), loader(other, batch_size=6))


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_leaves_the_random_state_of_the_model_alone(shuffled, workers: int) -> None:
    before = torch.get_rng_state()
    list(loader(shuffled, batch_size=6, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_place_of_a_batch_leads_to_its_text(tokens, shuffled) -> None:
    batch = next(iter(loader(shuffled, batch_size=3)))
    for row, place in enumerate(batch["place"].tolist()):
        read = [t for p in shuffled.where(place) for t in tokens.train.document(p.document)[p.start : p.stop].tolist()]
        assert batch["input_ids"][row].tolist() == read[:-1]
    lines = shuffled.describe(batch["place"]).splitlines()
    assert len(lines) == 3
    first = shuffled.where(int(batch["place"][0]))[0]
    wanted = f"the train split of made-up text: {first.name} (tokens {first.start} to {first.stop})"
    assert wanted in lines[0]


def test_padded_batches_carry_their_mask(tokens) -> None:
    batch = next(iter(loader(Samples(tokens.train, Single(24), seed=0), batch_size=4)))
    assert batch["attention_mask"].dtype == torch.bool
    assert {tuple(array.shape) for name, array in batch.items() if name != "place"} == {(4, 24)}
    assert all(batch[name].dtype == torch.int64 for name in ("input_ids", "labels", "segment_ids", "place"))


def test_a_dataset_travels_as_a_path_and_numbers(shuffled) -> None:
    shuffled[0]
    sent = pickle.dumps(shuffled)
    assert len(sent) < 1500
    assert all((a == b).all() for a, b in zip(pickle.loads(sent)[9].values(), shuffled[9].values(), strict=True))


def test_a_worker_is_not_in_its_parents_process_group(shuffled) -> None:
    """So that Ctrl-C, or a signal to the whole group, leaves the last batches to be read."""
    reading = loader(shuffled, batch_size=6, workers=1, context="fork")
    batches = iter(reading)
    first = next(batches)
    (worker,) = reading._iterator._workers
    assert os.getpgid(worker.pid) == worker.pid != os.getpgid(0)
    os.kill(worker.pid, signal.SIGINT)
    assert same([first, *batches], loader(shuffled, batch_size=6))


@pytest.mark.parametrize(("batch_size", "world_size"), [(3, 2), (0, 1), (2, 4)])
def test_shares_that_are_not_equal_are_refused(shuffled, batch_size: int, world_size: int) -> None:
    with pytest.raises(DataError, match=f"a batch of {batch_size} samples cannot be shared equally by {world_size}"):
        loader(shuffled, batch_size=batch_size, world_size=world_size)


def test_too_little_text_is_found_before_anything_is_read(tokens) -> None:
    with pytest.raises(DataError, match=r"holds .* tokens, but one sample takes 1,000,001"):
        Samples(tokens.train, Continuous(1_000_000), seed=0)


def test_stored_batches_cover_everything_once(stored) -> None:
    places = list(itertools.chain.from_iterable(b["place"].tolist() for b in loader(stored, batch_size=4)))
    assert places == list(range(len(stored)))
