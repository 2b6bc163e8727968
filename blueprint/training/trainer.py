"""Lightning's Trainer, made from what a spec says of it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from blueprint.schema.precision import PrecisionPolicy
from blueprint.schema.spec import Spec
from blueprint.training.callbacks.save import AtomicIO
from blueprint.training.precision import device_of
from blueprint.training.scaling import ScaledPrecision

#: Lightning wants a number of batches between validations; this one never comes.
NEVER = 1 << 60


def trainer(
    spec: Spec, steps: int, callbacks: Sequence[pl.Callback], folder: Path, *, progress: bool = True
) -> pl.Trainer:
    """The Trainer that takes `steps` optimizer steps as the spec says, calling `callbacks` in their order."""
    said = {name: value for name, value in spec.trainer.to_plain().items() if value is not None}
    # One bound for both: the loop then ends in the middle of an epoch or at its end, all the same.
    said |= {"max_steps": steps, "max_epochs": -1}
    said.setdefault("val_check_interval", NEVER)
    devices = spec.trainer.devices
    count = devices * spec.trainer.num_nodes if isinstance(devices, int) else None
    said["strategy"] = spec.trainer.strategy.chosen(count).build(spec.model.site())
    plugins: list[Any] = [AtomicIO()]
    # What runs on CUDA alone is Lightning's own, with its own precision.
    if spec.trainer.precision == "16-mixed" and not spec.trainer.strategy.cuda:
        plugins.append(ScaledPrecision(device_of(spec.trainer.accelerator), spec.precision or PrecisionPolicy()))
        del said["precision"]  # Lightning takes one or the other
    with quiet():
        return pl.Trainer(
            **said,
            callbacks=list(callbacks),
            plugins=plugins,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=progress,
            default_root_dir=folder,
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's notes on hardware, loaders and itself, which mean nothing here; its warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    say: Callable[[str], None] = lambda message: warnings.filterwarnings("ignore", message=message)  # noqa: E731
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            say(".*does not have many workers.*")
            say(".*ended before the epoch ended.*")
            say(".*is smaller than the logging interval.*")
            say(".*GPU available but not used.*")
            say(".*isinstance.treespec, LeafSpec.* is deprecated.*")
            # The compiler looks through caches of pure functions, which is as well.
            say(".*`functools.lru_cache`-wrapped function.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
