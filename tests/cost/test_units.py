from __future__ import annotations

import pytest

from blueprint.cost.units import count, decimal, flops, size


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (count(0), "0"),
        (count(999), "999"),
        (count(999.96), "1.00 K"),
        (count(124_439_808), "124.4 M"),
        (count(8_030_261_248), "8.03 B"),
        (count(1.5e16), "15,000.0 T"),
        (size(1), "1 B"),
        (size(1536), "1.50 KiB"),
        (size(16 * 2**30), "16.00 GiB"),
        (flops(16_500_000_000), "16.50 GFLOP"),
        (decimal(16_060_522_496), "16.06 GB"),
        (decimal(1_342_052_808_704), "1,342.1 GB"),
        (flops(0.5), "0.50 FLOP"),
    ],
)
def test_numbers_read_well(said: str, text: str) -> None:
    assert said == text
