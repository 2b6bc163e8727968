"""A run whose batches differ in width counts the tokens that it reads, and counts on where it was resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl

import blueprint as bp
from blueprint.training.metrics import read

from .conftest import PAIRS, MakeSpec


class Counted(pl.Callback):
    """What batches hold, by the optimizer step that they end."""

    def __init__(self) -> None:
        self.tokens: dict[int, int] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.tokens[trainer.global_step] = batch["input_ids"].numel() + batch["decoder_input_ids"].numel()


def test_the_tokens_of_a_run_are_those_that_were_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    said, counted = (*PAIRS, "data.bucket=3", "data.batch_size=4", "schedule=constant"), Counted()
    bp.fit(make_spec(*said), tmp_path / "whole", progress=False, callbacks=[counted])
    assert len(set(counted.tokens.values())) > 1
    found = {int(row["step"]): row["tokens"] for row in read(tmp_path / "whole" / "metrics.csv")}
    assert found == {step: sum(counted.tokens[each] for each in range(1, step + 1)) for step in found}

    bp.fit(make_spec(*said, "trainer.max_steps=3"), tmp_path / "parts", progress=False)
    bp.resume(tmp_path / "parts", ["trainer.max_steps=8"], progress=False)
    assert {int(row["step"]): row["tokens"] for row in read(tmp_path / "parts" / "metrics.csv")} == found
