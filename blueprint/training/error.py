"""What can go wrong with a run, said so that the user can mend it."""

from __future__ import annotations

import shlex
from pathlib import Path

from blueprint.files import Full


class TrainError(ValueError):
    """A run that cannot go on as asked; the message says what stands in the way and what to do."""


class RestoreError(TrainError):
    """A file or folder that holds no model of ours: missing, damaged, foreign, or bearing code."""


class Lost(TrainError):
    """A process of the run was lost, without which the others cannot go on."""

    def __init__(self, what: str, checkpoint: Path | None, run: Path) -> None:
        last = f"the last checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been saved yet"
        goes = f"`blueprint resume {run}` goes on from there" if checkpoint else "train it anew"
        super().__init__(f"{what}: the others cannot go on without it, and {last}\n  = fix: {goes}")


class NoRoom(TrainError):
    """The disk is full, or a quota used up: the run has stopped with nothing lost."""

    def __init__(self, what: Full, checkpoint: Path | None, run: Path, *, begun: bool) -> None:
        last = f"the last checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been saved yet"
        again = f"`blueprint resume {shlex.quote(str(run))}` goes on with the run" if begun else "train it again"
        super().__init__(f"{what}: the run has stopped, and {last}\n  = fix: make room there; then {again}")


class NonFinite(TrainError):
    """Training stopped because a number was infinite or not a number; nothing was saved after it.

    `step` is the optimizer step that would have been taken, `place` says where the batch lies in the data, `narrow`
    whether numbers were float16's.
    """

    def __init__(
        self, what: str, step: int, place: str, checkpoint: Path | None = None, *, narrow: bool = False
    ) -> None:
        self.what, self.step, self.place, self.checkpoint, self.narrow = what, step, place, checkpoint, narrow
        wider = "float16 ends at 65504: say `trainer.precision: bf16-mixed` or `32-true`; " if narrow else ""
        where = "\n".join(f"    {line}" for line in place.splitlines()) if place else "    unknown"
        last = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been saved yet"
        super().__init__(
            f"{what} at step {step}; training stopped before it could spread, and {last}\n"
            f"  the batch lies in\n{where}\n"
            f"  = fix: {wider}lower `optimizer.lr`, clip with `trainer.gradient_clip_val`, or look at that text; "
            "`trainer.detect_anomaly: true` names the operation"
        )

    def after(self, checkpoint: Path | None) -> NonFinite:
        """The same error, naming the last good checkpoint."""
        return NonFinite(self.what, self.step, self.place, checkpoint, narrow=self.narrow)
