"""What every test shares: one thread a process, and a cache that is the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by OpenMP when torch is imported: several test processes on few cores only slow each other with more.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("tests.parity.checks")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["BLUEPRINT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
