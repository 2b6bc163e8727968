"""The shapes of the schedules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.kinds import Schedule
from blueprint.registry import names
from blueprint_registry.schedule.constant import Constant
from blueprint_registry.schedule.cosine import Cosine
from blueprint_registry.schedule.linear import Linear
from blueprint_registry.schedule.wsd import Wsd

ALL: list[Any] = [Constant, Linear, Cosine, Wsd]
FALLING: list[Any] = [Linear, Cosine, Wsd]
TOTALS = st.integers(1, 3000)
SHARES = st.floats(0, 1)


def curve(schedule: Schedule, total: int) -> list[float]:
    return [schedule.factor(step, total) for step in range(total + 1)]


def test_every_schedule_is_tried_here() -> None:
    assert {cls.spec_name for cls in ALL} == set(names("schedule"))


@pytest.mark.parametrize("cls", ALL)
@given(total=TOTALS, share=SHARES)
def test_it_climbs_evenly_to_the_peak_then_never_rises(cls: Any, total: int, share: float) -> None:
    warmup = int(share * total)
    found = curve(cls(warmup_steps=warmup), total)
    steps = [b - a for a, b in zip([0.0, *found[: warmup - 1]], found[:warmup], strict=False)]
    assert steps == pytest.approx([1 / warmup] * warmup if warmup else [])
    assert all(a >= b - 1e-12 for a, b in zip(found[warmup:], found[warmup + 1 :], strict=False))
    assert all(0 <= factor <= 1 for factor in found)
    assert max(found[:-1]) == pytest.approx(1) or warmup == total


@pytest.mark.parametrize("cls", ALL)
def test_the_first_step_learns_something(cls: Any) -> None:
    assert cls(warmup_steps=1000).factor(0, 10_000) == 0.001
    assert cls().factor(0, 10_000) == 1


@pytest.mark.parametrize("cls", FALLING)
@given(total=TOTALS, final=SHARES, share=st.floats(0, 0.9))
def test_it_ends_where_it_was_told_and_stays_there(cls: Any, total: int, final: float, share: float) -> None:
    schedule = cls(final=final, warmup_steps=int(share * total))
    assert schedule.factor(total, total) == pytest.approx(final, abs=1e-9)
    assert schedule.factor(3 * total + 7, total) == schedule.factor(total, total)


def test_constant_never_falls() -> None:
    assert set(curve(Constant(), 50)) == {1.0}


def test_linear_and_cosine_meet_half_way() -> None:
    for cls in (Linear, Cosine):
        assert cls(final=0.2, warmup_steps=100).factor(600, 1100) == pytest.approx(0.6)


def test_cosine_is_flat_at_both_ends_and_linear_is_not() -> None:
    cosine, linear = curve(Cosine(final=0.0), 1000), curve(Linear(), 1000)
    assert cosine[0] - cosine[1] < 1e-5
    assert cosine[-2] - cosine[-1] < 1e-5
    assert linear[0] - linear[1] == pytest.approx(1e-3)


@given(total=st.integers(10, 3000), decay=st.floats(0.01, 1), shape=st.sampled_from(["sqrt", "linear"]))
def test_wsd_stands_at_the_peak_until_its_decay(total: int, decay: float, shape: Any) -> None:
    found = curve(Wsd(decay=decay, shape=shape), total)
    begin = total - decay * total
    assert all(factor == 1 for step, factor in enumerate(found) if step <= begin)
    assert all(factor < 1 for step, factor in enumerate(found) if step > begin + 1e-6)


def test_wsd_by_the_root_falls_faster_at_first() -> None:
    root, line = Wsd(decay=0.5), Wsd(decay=0.5, shape="linear")
    assert root.factor(625, 1000) == pytest.approx(0.5)
    assert line.factor(625, 1000) == pytest.approx(0.75)


def test_a_longer_wsd_run_is_the_same_until_the_shorter_ones_decay() -> None:
    short, long = curve(Wsd(warmup_steps=10), 100), curve(Wsd(warmup_steps=10), 500)
    assert short[:81] == long[:81]
