"""The LightningDataModule around a tokenizer and a source: batches in an order that depends on nothing but numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from blueprint.schema.spec import Spec
from blueprint.training.answering import answered
from blueprint.training.counts import processed
from blueprint.training.data.loader import loader
from blueprint.training.error import TrainError
from blueprint.training.strategies.parallel import replicas
from blueprint.training.task import Text, prepare


class BlueprintData(pl.LightningDataModule):
    """Training and held-out batches of a spec; use it with `Trainer(use_distributed_sampler=False)`.

    The batch that comes next follows from the Trainer's own count of processed batches, so that a run that was
    resumed reads on exactly where it stopped.
    """

    def __init__(
        self, spec: Spec, *, text: Text | None = None, cache: Path | None = None, progress: bool | None = None
    ) -> None:
        super().__init__()
        self.spec, self._cache, self._progress = spec, cache, progress
        self.text: Text | None = text

    def prepare_data(self) -> None:
        """Build the token files, where they are not built yet."""
        self._prepared()

    def setup(self, stage: str | None = None) -> None:
        """Open the token files."""
        self._prepared()

    def train_dataloader(self) -> DataLoader[Any]:
        """What is left of the epoch, from the batch that comes next; before the first, models that the objective asks
        have answered where their answers are kept."""
        module: Any = None if self.trainer is None else self.trainer.lightning_module
        asked = getattr(module, "asked", None)
        if asked is not None and self.trainer is not None:
            context = self.trainer.precision_plugin.forward_context
            said = {"device": module.device, "context": context, "progress": self._progress}
            self.text = answered(self._prepared(), module.objective, asked.hashes, **said)
        return self._loader(self._prepared().train, start=self._processed)

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out batches, the same every time."""
        text, limit = self._prepared(), self.spec.trainer.limit_val_batches
        return self._loader(text.held_out(limit))

    def state_dict(self) -> dict[str, Any]:
        """How far the run has read, and what."""
        return {"processed": self._processed(), "data": self._prepared().identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with other data: the place in it would mean nothing."""
        same_data(state_dict["data"], self._prepared().identity())

    def describe(self, place: Iterable[int]) -> str:
        """Where the rows of a training batch lie in the data, in words."""
        return self._prepared().train.describe(place)

    def _prepared(self) -> Text:
        if self.text is None:
            self.text = prepare(self.spec, cache=self._cache, progress=self._progress)
        return self.text

    def _processed(self) -> int:
        assert self.trainer is not None
        return processed(self.trainer)

    def _loader(self, samples: Any, **options: Any) -> DataLoader[Any]:
        text = self._prepared()
        trainer = self.trainer
        shared_by, number = (1, 0) if trainer is None else replicas(trainer)
        return loader(
            samples,
            batch_size=text.data.batch_size,
            workers=text.data.workers,
            world_size=shared_by,
            rank=number,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
            **options,
        )


def same_data(before: dict[str, str], now: dict[str, str]) -> None:
    """Raise `TrainError` where a run's data is no longer what it began with."""
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise TrainError(
            f"the run's data has changed since it began ({', '.join(changed)}): its place in the data means nothing\n"
            "  = fix: put the data back as it was, or begin a new run with `start: {from: RUN}`"
        )
