"""A run tells how much of its time its steps waited for their batches."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from blueprint.training import metrics
from blueprint.training.data.dataset import Samples
from blueprint.training.data.loader import loader
from blueprint.training.run import fit
from blueprint.training.task import prepare
from blueprint.training.waiting import Waiting

from .conftest import MakeSpec

REAL = Samples.__getitem__


def slow(self: Samples, n: int) -> Any:
    time.sleep(0.02)
    return REAL(self, n)


def test_slow_data_shows_in_rows_and_at_the_end(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = fit(make_spec(), tmp_path / "quick", progress=False)
    assert 0 < quick.summary["data_wait"] < 1
    monkeypatch.setattr(Samples, "__getitem__", slow)
    run = fit(make_spec(), tmp_path / "slow", progress=False)
    # Eight steps, of eight rows each.
    assert 8 * 8 * 0.02 < run.summary["data_wait"] * run.summary["seconds"] < run.summary["seconds"]
    assert json.loads((tmp_path / "slow" / "summary.json").read_text())["data_wait"] == run.summary["data_wait"]
    rows = metrics.read(tmp_path / "slow" / "metrics.csv")
    assert all(0 < row["data_wait"] < 1 for row in rows)
    assert f"waiting for data{run.summary['data_wait']:>22.2%} of the time" in run.report()


def test_only_the_reader_of_a_loader_is_counted(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Samples, "__getitem__", slow)
    batches = loader(prepare(make_spec(), progress=False).train, batch_size=2)
    waiting = Waiting()
    assert waiting.share is waiting.lately() is None
    waiting.begin(batches)
    for _ in batches:
        time.sleep(0.12)
        break
    before = batches.waited
    assert before >= 0.04
    share, lately = waiting.share, waiting.lately()
    assert share is not None
    assert lately == pytest.approx(share, rel=0.1)
    assert 0 < share < 1
    time.sleep(0.05)
    assert waiting.lately() == 0
    waiting.begin([])
    assert waiting.share is None
