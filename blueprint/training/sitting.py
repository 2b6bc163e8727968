"""One sitting of a verification, run as a process of its own: `python -m blueprint.training.sitting TASK`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from blueprint.load import load
from blueprint.training.callbacks.save import Saver
from blueprint.training.checkpoint import bits
from blueprint.training.counts import processed
from blueprint.training.run import fit, resume


class Watch(pl.Callback):
    """Writes down every batch, stops cleanly after `steps`, and dies at batch `kill` as if the power had gone."""

    def __init__(self, trace: Path, steps: int, kill: int | None) -> None:
        self.trace, self.steps, self.kill = trace, steps, kill

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Die, where this is the batch."""
        if processed(trainer) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note what was read and what was lost, bit for bit."""
        digest = hashlib.sha256()
        for name in sorted(batch):
            digest.update(name.encode() + bits(batch[name]))
        entry = {
            "batch": processed(trainer),
            "data": digest.hexdigest()[:16],
            "loss": float(outputs["objective"]).hex(),
        }
        with open(self.trace, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        saver = trainer.checkpoint_callback
        if trainer.global_step >= self.steps and isinstance(saver, Saver):
            saver.stop.requested = True


def main(task: dict[str, Any]) -> None:
    """Train or resume as the task says."""
    run, allow = Path(task["run"]), bool(task["allow_plugins"])
    cache = None if task["cache"] is None else Path(task["cache"])
    watch = Watch(run.with_suffix(".trace"), task["steps"], task.get("kill"))
    if task.get("resume"):
        resume(run, progress=False, cache=cache, allow_plugins=allow, callbacks=[watch])
    else:
        fit(load(task["spec"], allow_plugins=allow), run, progress=False, cache=cache, callbacks=[watch])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
