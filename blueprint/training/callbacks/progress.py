"""The progress of a whole run: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from blueprint.training.callbacks.record import Recorder
from blueprint.training.scaling import scaling


class RunProgress(ProgressBar):
    """Lightning's progress bar over the optimizer steps of the run: loss, tokens a second, and the time that is left.

    Where no one watches a terminal it prints a line at most every `seconds`.
    """

    def __init__(self, recorder: Recorder, steps: int, seconds: float = 10.0) -> None:
        super().__init__()
        self.recorder, self.steps, self.seconds = recorder, steps, seconds
        self.live = sys.stderr.isatty()
        self.bar: Tqdm | None = None
        self._enabled = True
        self._said = 0.0
        self._step = 0
        self._held_out: float | None = None

    def disable(self) -> None:
        """Show nothing (Lightning asks this of every process but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a line without breaking the bar."""
        if not self._enabled:
            return
        text = " ".join(map(str, args))
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where the run stands."""
        self._step, self._said = trainer.global_step, time.monotonic()
        if self._enabled and self.live:
            # On a terminal that does not say how large it is, tqdm would draw a bar of no width.
            known = all(shutil.get_terminal_size(fallback=(0, 0)))
            self.bar = Tqdm(
                total=self.steps,
                initial=self._step,
                desc="training",
                unit="step",
                file=sys.stderr,
                dynamic_ncols=known,
                ncols=None if known else 100,
                nrows=None if known else 24,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by an optimizer step."""
        step = trainer.global_step
        if step == self._step or not self._enabled:
            return
        if self.bar is not None:
            self.bar.update(step - self._step)
            self.bar.set_postfix_str(self._figures(trainer, outputs), refresh=False)
        elif time.monotonic() - self._said >= self.seconds or step == self.steps:
            self._said = time.monotonic()
            self.print(f"step {step}/{self.steps}  {self._figures(trainer, outputs)}{self._left(trainer, step)}")
        self._step = step

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the held-out loss."""
        found = trainer.callback_metrics.get("val_loss")
        if found is not None and not trainer.sanity_checking:
            self._held_out = float(found)
            if self.bar is None:
                self.print(f"step {trainer.global_step}/{self.steps}  validation loss {self._held_out:.4f}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _figures(self, trainer: pl.Trainer, outputs: Any) -> str:
        parts = [f"loss {float(outputs['objective']):.4f}"]
        if self._held_out is not None and self.live:
            parts.append(f"validation {self._held_out:.4f}")
        scaled = scaling(trainer)
        if scaled is not None:
            skips = f", {scaled.skips} skipped" if scaled.skips else ""
            parts.append(f"scale {scaled.scale:g}{skips}")
        if self.recorder.speed is not None:
            parts.append(f"{self.recorder.speed:,.0f} tokens/s")
        return "  ".join(parts)

    def _left(self, trainer: pl.Trainer, step: int) -> str:
        if self.recorder.seconds is None or step >= self.steps:
            return ""
        left = int((self.steps - step) * trainer.accumulate_grad_batches * self.recorder.seconds)
        return f"  {left // 60}:{left % 60:02d} left"
