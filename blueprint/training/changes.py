"""What may change in a run that has begun, and what may not. No Lightning here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueprint.training.error import TrainError

#: What may change in a run that has begun, as key paths; everything else decides what the run is.
FREE = (
    *("name", "description", "checkpoint", "sample", "writing", "schedule", "data.workers", "recompute"),
    *(f"trainer.{name}" for name in ("max_steps", "max_epochs", "accelerator", "devices", "num_nodes", "strategy")),
    *(f"trainer.{name}" for name in ("val_check_interval", "limit_val_batches", "log_every_n_steps")),
    *(
        f"trainer.{name}"
        for name in ("gradient_clip_val", "gradient_clip_algorithm", "deterministic", "detect_anomaly")
    ),
)


def refuse_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise `TrainError` where a spec differs from the one a run began with in what decides the run."""
    fixed = [key for key in _differing(before, after) if not _free(key)]
    if fixed:
        named = ", ".join(f"`{key}`" for key in fixed)
        raise TrainError(
            f"{named} cannot change in a run that has begun; a resumed run may change {', '.join(FREE)}\n"
            "  = fix: begin a new run, with `start: {from: RUN}` to take the weights along"
        )


def refuse_others(trained: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    """Raise `TrainError` where the spec at `path` is not the one that a checkpoint was trained by: somebody changed the
    file, or its end is missing. Where files lie may have changed; what they hold is compared by others."""
    fixed = [key for key, was, now in _values(trained, said) if not _free(key) and not (_places(was) and _places(now))]
    if fixed:
        named = ", ".join(f"`{key}`" for key in fixed)
        raise TrainError(
            f"{path} is not what the run was trained by: {named} differ from what its newest checkpoint holds\n"
            "  = fix: put it back as it was, or remove it: the checkpoint's is taken then"
        )


def _free(key: str) -> bool:
    return any(f"{key}.".startswith(f"{free}.") for free in FREE)


def _places(value: Any) -> bool:
    """Whether a value may say where files lie."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def refuse_but_data(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise `TrainError` where what is to be measured differs from what was trained in more than its data."""
    others = [key for key in _differing(before, after) if not key.startswith("data.")]
    if others:
        named = ", ".join(f"`{key}`" for key in others)
        raise TrainError(f"{named} cannot change in what is measured: only `data` can, such as `data.source.path=FILE`")


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    return (key for key, _, _ in _values(before, after))


def _values(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*before, *after]):
        here, was, now = f"{path}{key}", before.get(key), after.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _values(was, now, f"{here}.")
        elif was != now:
            yield here, was, now
