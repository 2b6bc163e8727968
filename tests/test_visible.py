"""A mask says how many pairs it shows, exactly, and needs no torch to say it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.visible import Visible

BOUND = st.none() | st.integers(0, 12)


def even(q, k):
    return (q - k) % 2 == 0


def small(q, k):
    return k < 3


@dataclass(frozen=True)
class Chunk:
    period: int

    def __call__(self, q, k):
        return q // self.period == k // self.period


TESTS = [(), (even,), (even, small), (Chunk(3),), (Chunk(2), Chunk(3)), (Chunk(4), even)]
MASKS = st.builds(Visible, BOUND, BOUND, st.booleans(), st.sampled_from(TESTS))


def sees(mask: Visible, i: int, j: int) -> bool:
    near = (mask.back is None or i - j <= mask.back) and (mask.ahead is None or j - i <= mask.ahead)
    return near and all(test(i, j) for test in mask.tests)


@given(MASKS, st.integers(1, 24), st.data())
def test_pairs_are_what_counting_gives(mask, length, data):
    queries = data.draw(st.none() | st.integers(0, length))
    first = 0 if queries is None else length - queries
    counted = sum(sees(mask, i, j) for i in range(first, length) for j in range(length))
    assert mask.pairs(length, queries) == counted
    assert mask.within(length).pairs(length, queries) == counted


@given(MASKS, MASKS)
def test_the_intersection_sees_what_both_see(a, b):
    both = a & b
    for i in range(15):
        for j in range(15):
            assert sees(both, i, j) == (sees(a, i, j) and sees(b, i, j))
    assert both.same_segment == (a.same_segment or b.same_segment)
    assert a & a == a


def test_long_sequences_are_counted_at_once():
    length = 10**9
    assert Visible(ahead=0).pairs(length) == length * (length + 1) // 2
    assert Visible().pairs(length) == length * length
    assert Visible(back=127, ahead=0).pairs(length) == 128 * length - 127 * 128 // 2
    assert Visible(back=127, ahead=0).pairs(length, queries=1) == 128
    assert Visible(back=127, ahead=0, tests=(Chunk(100),)).pairs(length) == 10**7 * sum(range(101))


def test_predicates_are_counted_over_several_blocks():
    assert Visible(ahead=0, tests=(even,)).pairs(2100) == sum(i // 2 + 1 for i in range(2100))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Visible(), "full"),
        (Visible(ahead=0), "causal"),
        (Visible(127, 0), "causal, window 128"),
        (Visible(64, 64, True), "window 64 each way, one document"),
        (Visible(5, 3, tests=(even,)), "5 back, 3 ahead, 1 test"),
    ],
)
def test_it_describes_itself(mask, words):
    assert mask.describe() == words


def test_bounds_and_counts_are_checked():
    with pytest.raises(ValueError, match="back must not be negative"):
        Visible(back=-1)
    with pytest.raises(ValueError, match="5 queries of 3 tokens"):
        Visible().pairs(3, 5)


def test_masks_and_the_choice_of_backend_need_no_torch():
    code = "import sys, blueprint.visible, blueprint.choice; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
