"""Write every logged step to metrics.csv and statistics.csv, before the checkpoint of that step is saved."""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import Any

import lightning.pytorch as pl
import torch

from blueprint.training.counts import processed
from blueprint.training.metrics import HELD_OUT, Row, Table
from blueprint.training.scaling import scaling
from blueprint.training.statistics import Statistics, columns, told
from blueprint.training.strategies.parallel import replicas
from blueprint.training.waiting import Waiting

#: Of what a training step gives: the loss as Lightning scales it, and a count, of which the mean says nothing.
UNLOGGED = ("loss", "tokens")
#: What holds the tokens that a batch reads; where there are none, its samples count.
TOKENS = ("input_ids", "decoder_input_ids")


class Recorder(pl.Callback):
    """Rows of metrics.csv: the mean loss of an optimizer step's batches, and what stands beside it; and what parts told
    of the step, part by part.

    `tokens_per_second` is the median of the batches' own, so that validations and saving do not count;
    `data_wait` is the share of all time since the row before in which steps waited for their batches.
    """

    def __init__(self, table: Table | None, every: int, steps: int) -> None:
        self.table, self.every, self.steps = table, every, steps
        self.statistics: Statistics | None = None
        self.row: Row = {}
        self._found: list[dict[str, Any]] = []
        self._step = 0
        #: Tokens read so far, where that is known already.
        self._tokens: int | None = None
        self._times: deque[float] = deque(maxlen=20)
        self._speeds: deque[float] = deque(maxlen=20)
        self._before: float | None = None
        self.waiting = Waiting()

    @property
    def seconds(self) -> float | None:
        """Seconds a batch takes, or None before the second one."""
        return statistics.median(self._times) if self._times else None

    @property
    def speed(self) -> float | None:
        """Tokens a second."""
        return statistics.median(self._speeds) if self._speeds else None

    def state_dict(self) -> dict[str, Any]:
        """How many tokens were read: batches differ in width where they are cut to their longest."""
        return {"tokens": self._tokens}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from there."""
        self._tokens = state_dict["tokens"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the step a checkpoint left."""
        self._step = trainer.global_step
        self.waiting.begin(trainer.train_dataloader)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch; at the end of an optimizer step that is due, write its row."""
        now = time.perf_counter()
        # Of the other processes it is taken that they read as much.
        tokens = _read(batch) * replicas(trainer)[0]
        if self._before is not None:
            self._times.append(now - self._before)
            self._speeds.append(tokens / (now - self._before))
        self._before = now
        before = (processed(trainer) - 1) * tokens if self._tokens is None else self._tokens
        self._tokens = before + tokens
        self._found.append({name: value for name, value in outputs.items() if name not in UNLOGGED})
        if pl_module.skipped:
            # The next step is another's.
            self._found.clear()
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self._step % self.every == 0 or self._step == self.steps or self._step == 1:
            found = told(pl_module.settled)  # type: ignore[arg-type]
            self.row = columns(found) | self._measured(trainer, pl_module)
            if self.table is not None:
                self.table.put(self._step, self.row)
            if self.statistics is not None:
                self.statistics.put(self._step, found)
        self._found.clear()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the held-out loss and scores to the step's row."""
        if trainer.sanity_checking or self.table is None:
            return
        found = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        values = {f"{HELD_OUT}{name.removeprefix('val_')}": float(value) for name, value in found.items()}
        self.table.put(trainer.global_step, values)

    def _measured(self, trainer: pl.Trainer, module: Any) -> Row:
        def mean(name: str) -> float:
            # Every process has its share of the batch; what a step gave is the mean over its batches and them.
            batches = torch.stack([found[name].double() for found in self._found])
            return float(trainer.strategy.reduce(batches.mean(), reduce_op="mean"))

        row: Row = {
            "tokens": float(self._tokens or 0),
            "loss": mean("objective"),
            "learning_rate": module.learning_rate,
        }
        if module.gradient_norm is not None:
            row["gradient_norm"] = float(module.gradient_norm)
        scaled = scaling(trainer)
        if scaled is not None:
            row |= {"loss_scale": scaled.scale, "skipped_steps": scaled.skips}
        if self.speed is not None:
            row["tokens_per_second"] = round(self.speed, 1)
        waited = self.waiting.lately()
        if waited is not None:
            row["data_wait"] = round(waited, 5)
        return {name: mean(name) for name in self._found[-1] if name != "objective"} | row


def _read(batch: Any) -> int:
    """How many tokens a batch reads."""
    # Parts of an objective have inputs of their own, after their names.
    ids = [value.numel() for name, value in batch.items() if name.rpartition("/")[2] in TOKENS]
    return sum(ids) or batch["labels"].numel()
