"""What the processes of a run agree on and add up."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from blueprint.ops import shared_by
from blueprint.training.strategies.collective import rows, summed
from blueprint.training.strategies.layout import DATA
from blueprint.training.strategies.parallel import replicas


class Sharing:
    """The processes that a module is trained by; alone, everything is as it is."""

    def __init__(self, module: pl.LightningModule) -> None:
        self._module = module

    @property
    def group(self) -> Any:
        """The processes that share a batch; None for all there are."""
        mesh = self._module._device_mesh
        return None if mesh is None else mesh[DATA].get_group()

    def share(self, tokens: Tensor | None) -> Tensor | float:
        """What makes the mean over processes of their batches' means the mean over all their tokens."""
        world = self._module.trainer.world_size
        if world == 1 or tokens is None:
            return 1.0
        everyone: Any = self._module.trainer.strategy.reduce(tokens.double(), reduce_op="sum")
        return float(tokens * world / everyone.clamp_min(1))

    def agree(self, good: Tensor) -> bool:
        """Whether it is true everywhere: one that stopped alone would leave the others waiting for it."""
        trainer = self._module.trainer
        alone = trainer.world_size == 1
        return bool(good) if alone else bool(trainer.strategy.reduce_boolean_decision(bool(good), all=True))

    def sum_of_batch(self, x: Tensor) -> Tensor:
        """A tensor summed over the processes that share a batch, with its gradient."""
        return x if replicas(self._module.trainer)[0] == 1 else summed(x, self.group)

    def rows_of_batch(self, x_NX: Tensor) -> tuple[Tensor, slice]:
        """A row for each sample, with those of all processes that share the batch, and the place of its own."""
        alone = replicas(self._module.trainer)[0] == 1
        return (x_NX, slice(0, len(x_NX))) if alone else rows(x_NX, self.group)

    def told(self) -> AbstractContextManager[None]:
        """Inside, what computes learns of the other processes' batches."""
        return shared_by(self.sum_of_batch, self.rows_of_batch)

    def everyone(self, x: Tensor) -> Tensor:
        """The same without."""
        return x.clone() if replicas(self._module.trainer)[0] == 1 else summed(x.detach(), self.group)
