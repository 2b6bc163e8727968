"""A run may be long: what it holds does not grow with its steps."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench_growth


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_steps_grow_memory_by_less_than_two_percent() -> None:
    found = bench_growth.measure(steps=10_000, warm=500)
    assert found["steps"] == [500, 10_000]
    assert len(found["series"]) == 96
    assert found["growth"] < 0.02
    assert found["most_bytes"] < 1.02 * found["start_bytes"]
