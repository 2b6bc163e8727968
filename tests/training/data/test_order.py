"""The order is a permutation an epoch, new in every epoch and for every seed, and reached anywhere at once."""

import itertools
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.training.data.order import Mixed, Sequential, Shuffled

SIZES = st.integers(1, 700)
SEEDS = st.integers(0, 2**63)
PINNED = [3, 0, 6, 8, 2, 5, 9, 4, 7, 1, 1, 5, 0, 9, 3, 4, 8, 2, 7, 6]


def epoch(order: Shuffled, number: int) -> list[int]:
    return [order[n] for n in range(number * order.samples, (number + 1) * order.samples)]


@given(SIZES, SEEDS, st.integers(0, 10**6))
def test_every_epoch_holds_every_sample_once(samples: int, seed: int, number: int) -> None:
    assert sorted(epoch(Shuffled(samples, seed), number)) == list(range(samples))


@given(st.integers(30, 700), SEEDS, st.integers(0, 1000))
def test_epochs_and_seeds_differ(samples: int, seed: int, number: int) -> None:
    here = epoch(Shuffled(samples, seed), number)
    assert here != epoch(Shuffled(samples, seed), number + 1)
    assert here != epoch(Shuffled(samples, seed + 1), number)
    assert here != list(range(samples))


@given(SIZES, SEEDS, st.integers(0, 1000))
def test_an_order_mixed_once_is_the_first_of_a_shuffled_one(samples: int, seed: int, number: int) -> None:
    found = Mixed(samples, seed)
    assert [found[number * samples + n] for n in range(samples)] == epoch(Shuffled(samples, seed), 0)


@given(SIZES, SEEDS, st.lists(st.integers(0, 10**12), max_size=5))
def test_the_order_depends_on_nothing_but_seed_and_place(samples: int, seed: int, places: list[int]) -> None:
    order, again = Shuffled(samples, seed), Shuffled(samples, seed)
    assert [order[n] for n in places] == [again[n] for n in reversed(places)][::-1]


def test_the_order_is_the_same_on_every_machine() -> None:
    assert [Shuffled(10, 7)[n] for n in range(20)] == PINNED


def test_any_place_among_a_trillion_samples_is_reached_at_once() -> None:
    order, begun = Shuffled(10**12, 3), time.perf_counter()
    found = [order[10**15 + n] for n in range(1000)]
    assert time.perf_counter() - begun < 1
    assert len(set(found)) == 1000
    assert all(0 <= s < 10**12 for s in found)


def test_all_orders_of_four_samples_come_up_about_equally_often() -> None:
    met = Counter(tuple(epoch(Shuffled(4, 0), number)) for number in range(4800))
    assert set(met) == set(itertools.permutations(range(4)))
    # 200 expected of each, standard deviation 14
    assert max(abs(count - 200) for count in met.values()) < 70


@pytest.mark.parametrize("lag", [1, 2, 64])
def test_neighbours_in_the_order_are_strangers_in_the_data(lag: int) -> None:
    samples = 4096
    order = epoch(Shuffled(samples, 1), 0)
    apart = [abs(a - b) for a, b in itertools.pairwise(order[::lag])]
    # two uniform draws lie a third of the range apart on average, with a deviation of 0.236 of the range
    assert abs(sum(apart) / len(apart) / samples - 1 / 3) < 5 * 0.236 / len(apart) ** 0.5


def test_stored_order_is_the_identity() -> None:
    assert [Sequential(5)[n] for n in range(5)] == [0, 1, 2, 3, 4]
