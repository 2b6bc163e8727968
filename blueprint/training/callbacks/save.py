"""Save at the end of optimizer steps that are due, and when asked to stop; never anything broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO

from blueprint.ops import own
from blueprint.training import checkpoint as files
from blueprint.training.callbacks.stop import Interrupted, StopSignals
from blueprint.training.counts import processed
from blueprint.training.error import NonFinite


class AtomicIO(CheckpointIO):
    """How Lightning writes and reads our checkpoints: atomically with a checksum, and without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write aside, sync, rename."""
        files.write(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors and plain values onto the CPU, whatever is asked for; raises `RestoreError`."""
        return files.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint and its checksum."""
        files.remove(Path(path))


class Saver(Checkpoint):
    """Saves every `every` optimizer steps and at the last one, keeping the `keep` newest files.

    A step that is followed by a validation is saved after it, so that a resumed run neither repeats nor skips one. A
    request to stop is met at the end of an optimizer step: gradients summed so far are nowhere else.
    """

    def __init__(self, folder: Path, every: int, keep: int, steps: int, stop: StopSignals) -> None:
        self.folder, self.every, self.keep, self.steps, self.stop = folder, every, keep, steps, stop
        self.newest: Path | None = None
        self._step = 0
        self._stepped = self._pending = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the step a checkpoint left; by now Lightning has put handlers of its own before ours."""
        self._step = trainer.global_step
        self.stop.install()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, or leave it to the end of the validation that comes now."""
        self._stepped = trainer.global_step != self._step
        if not self._stepped:
            return
        step = self._step = trainer.global_step
        last, stopping = step >= self.steps, self._asked(trainer)
        if last:
            # Lightning validates once more before it stops.
            trainer.should_stop = True
        self._pending = last or stopping or step % self.every == 0
        validates = bool(trainer.limit_val_batches) and (last or self._validation_due(trainer))
        # Who asks to stop may not wait for a validation: the step is saved before it as well.
        if self._pending and (not validates or stopping):
            self._save(trainer)
        if not validates:
            self._leave(trainer, stopping)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the step the validation belongs to."""
        # A validation may also fall into an accumulation, where nothing is saved.
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self._stepped:
            return
        stopping = self._asked(trainer)
        if self._pending or stopping:
            self._save(trainer)
        self._leave(trainer, stopping)

    def _asked(self, trainer: pl.Trainer) -> bool:
        # One process may have had the signal and another not: they must agree, or they would wait for each other.
        return bool(trainer.strategy.reduce_boolean_decision(self.stop.requested, all=False))

    def _validation_due(self, trainer: pl.Trainer) -> bool:
        return processed(trainer) % int(trainer.val_check_interval) == 0

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        module = trainer.lightning_module
        # Each looks at what it holds; all have to know.
        if not trainer.strategy.reduce_boolean_decision(finite(module), all=True):
            raise NonFinite("a weight is not finite", step, "", self.newest)
        path = self.folder / files.name(step)
        trainer.save_checkpoint(path, weights_only=False)
        self.newest = path
        if trainer.is_global_zero:
            files.prune(self.folder, self.keep)

    def _leave(self, trainer: pl.Trainer, stopping: bool) -> None:
        self._pending = False
        if stopping and trainer.global_step < self.steps:
            raise Interrupted(trainer.global_step)


@torch.no_grad()
def finite(module: torch.nn.Module) -> bool:
    """Whether all that this process holds of every parameter is finite; the largest magnitude tells, and nothing is
    copied."""
    held = [own(parameter) for parameter in module.parameters()]
    largest = [torch.linalg.vector_norm(each, float("inf")).float() for each in held if each.numel()]
    return bool(torch.isfinite(torch.stack(largest)).all()) if largest else True
