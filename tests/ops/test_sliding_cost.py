"""Sliding attention costs in proportion to the length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_sliding.py"


@pytest.mark.slow
@pytest.mark.parametrize("window", [64, 256])
def test_four_times_the_tokens_cost_at_most_4_4_times_the_time_and_memory(window):
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--json", "--window", str(window)], capture_output=True, text=True, check=False
    )
    figures = json.loads(done.stdout)
    assert figures["time_ratio"] <= 4.4, figures
    assert figures["memory_ratio"] <= 4.4, figures
