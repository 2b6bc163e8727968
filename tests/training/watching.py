"""What tests of runs share: crashes on order, and everything a run did, to be compared bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from blueprint.training import checkpoint as checkpoints
from blueprint.training import metrics
from blueprint.training.counts import processed
from blueprint.training.verify import _equal, _leaves


class Power(Exception):
    """The power has gone."""


class Trace(pl.Callback):
    """Notes the data and the loss of every batch by its number."""

    def __init__(self) -> None:
        self.seen: dict[int, Any] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen[processed(trainer)] = (batch["place"].tolist(), float(outputs["objective"]).hex())


class Crash(pl.Callback):
    """Fails as batch number `at` begins, with nothing saved."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if processed(trainer) == self.at:
            raise Power


class Signal(pl.Callback):
    """Sends this process a signal at the end of batch number `at`."""

    def __init__(self, at: int, number: int = signal.SIGTERM) -> None:
        self.at, self.number = at, number

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if processed(trainer) == self.at:
            os.kill(os.getpid(), self.number)


def last_checkpoint(folder: Path) -> dict[str, Any]:
    return checkpoints.read(checkpoints.listing(folder / "checkpoints")[-1])


def rows(folder: Path) -> list[dict[str, float]]:
    """The metrics, without what depends on the clock."""
    return [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "data_wait")}
        for row in metrics.read(folder / "metrics.csv")
    ]


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a run, byte for byte."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def assert_same_run(whole: Path, seen: Trace, other: Path, other_seen: Trace) -> None:
    """Batches, losses, weights, optimizer, schedule and metrics are equal bit for bit."""
    assert other_seen.seen == seen.seen
    a, b = last_checkpoint(whole), last_checkpoint(other)
    assert a["global_step"] == b["global_step"]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        one, two = dict(_leaves(a[part])), dict(_leaves(b[part]))
        assert one.keys() == two.keys()
        assert [name for name in one if not _equal(one[name], two[name])] == []
    assert sum(isinstance(value, torch.Tensor) for _, value in _leaves(a["optimizer_states"])) > 0
    assert rows(other) == rows(whole)
