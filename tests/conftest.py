"""What every test shares: one thread a process, and a cache that is the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Read by OpenMP when torch is imported: several test processes on few cores only slow each other with more.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("tests.parity.checks")

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def plugins_forgotten() -> Iterator[None]:
    """Components that are loaded from files meanwhile are gone afterwards: other tests know nothing of them."""
    from blueprint import registry
    from blueprint.component import MEMBERS

    loaded = dict(registry._LOADED)
    try:
        yield
    finally:
        new = {cls for path in registry._LOADED.keys() - loaded.keys() for cls in registry._LOADED[path]}
        for key in [key for key, cls in MEMBERS.items() if cls in new]:
            del MEMBERS[key]
        registry._LOADED.clear()
        registry._LOADED.update(loaded)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["BLUEPRINT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
