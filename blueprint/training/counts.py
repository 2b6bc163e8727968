"""How far a run has come, read from Lightning's own counters in one place."""

from __future__ import annotations

from typing import cast

import lightning.pytorch as pl
from lightning.pytorch.loops.progress import _ProcessedTracker


def processed(trainer: pl.Trainer) -> int:
    """Batches of this process whose optimizer work is done, over all epochs and sittings.

    This counter, and not `completed`, is right in checkpoints saved at the end of a batch.
    """
    return cast(_ProcessedTracker, trainer.fit_loop.epoch_loop.batch_progress.total).processed
