"""How a run stands that is to be gone on with, whatever of its files is damaged or was never written. No Lightning
here.

Only checkpoints hold what was learned; each holds the spec and the lock, too, under its checksum. What lies beside them
is for people, and for the time before the first one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blueprint.diagnosis import SpecError
from blueprint.load.files import read_file
from blueprint.schema.spec import Spec
from blueprint.training import checkpoint as checkpoints
from blueprint.training.changes import refuse_changes, refuse_others
from blueprint.training.error import RestoreError, TrainError
from blueprint.training.folder import Layout, read_json
from blueprint.training.kept import unpacked
from blueprint.training.restore import open_stored
from blueprint.training.task import ready_to_train
from blueprint.tree import plain


def said(layout: Layout, overrides: Sequence[str], allow_plugins: bool) -> Spec:
    """The spec of a run with overrides: of its spec.yaml, or where that is gone, of its newest whole checkpoint.

    Raises `TrainError` where there is no run, `SpecError` where its spec is none, and both where overrides change what
    decides the run.
    """
    from blueprint.load import load

    source: Any = layout.spec
    if not layout.spec.is_file():
        newest, _ = checkpoints.newest_whole(layout.checkpoints)
        if newest is None:
            raise TrainError(
                f"{layout.root} holds no run: there is no spec.yaml in it\n"
                f"  = fix: `blueprint train SPEC -o {shlex.quote(str(layout.root))}` begins one"
            )
        source = open_stored(newest).spec
    try:
        before = load(source, allow_plugins=allow_plugins)
        ready_to_train(before)
    except (SpecError, TrainError) as error:
        if not layout.spec.is_file() or not checkpoints.listing(layout.checkpoints):
            raise
        if any(problem.code == "plugin" for problem in getattr(error, "problems", ())):
            raise
        fix = f"  = fix: mend {layout.spec}, or remove it: the run's checkpoints hold the spec, too"
        raise TrainError(f"{layout.spec}: {error}\n{fix}") from error
    spec = load(source, overrides=list(overrides), allow_plugins=allow_plugins) if overrides else before
    refuse_changes(before.to_plain(), spec.to_plain())
    return spec


@dataclass(frozen=True)
class Standing:
    """The newest whole checkpoint, and what is wrong with newer ones."""

    layout: Layout
    newest: Path | None
    damaged: dict[Path, str]

    @classmethod
    def of(cls, layout: Layout) -> Standing:
        """How a run stands; raises `RestoreError` where all its checkpoints are damaged."""
        newest, damaged = checkpoints.newest_whole(layout.checkpoints)
        if newest is None and damaged:
            named = "\n".join(f"{path}: {why}" for path, why in damaged.items())
            raise RestoreError(
                f"none of the run's checkpoints is whole, and nothing was changed\n{named}\n"
                f"  = fix: put one back; without {layout.checkpoints} the run begins anew"
            )
        return cls(layout, newest, damaged)

    def locks(
        self, spec: Spec, own: Mapping[str, torch.Tensor], allow_plugins: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the run depends on as its newest checkpoint says, and as it began; both empty where it was broken off
        before it said so, and the same where only one is there.

        `own` are the tensors of the run's module. Raises `TrainError` where its lock cannot be read and no checkpoint
        says the same, or its spec.yaml is not what the newest checkpoint was trained by.
        """
        path = self.layout.lock
        made = {} if self.newest is None else checkpoints.made_by(self.newest, own)
        try:
            began = read_json(path) if path.exists() else {}
        except TrainError as error:
            if not made:
                raise TrainError(f"{error}\n  = fix: remove it: no step was saved, and the run begins anew") from error
            self.damaged[path] = "it cannot be read"
            began = {}
        if made:
            if self.layout.spec.is_file():
                _refuse_half(plain(read_file(self.layout.spec)), made["spec"], self.layout.spec)
            refuse_others(_as_now(made, allow_plugins).to_plain(), spec.to_plain(), self.layout.spec)
        now = made.get("lock") or began
        return now, began or now


def _refuse_half(said: Mapping[str, Any], trained: Mapping[str, Any], path: Path) -> None:
    """Raise `TrainError` where a spec.yaml lacks what a checkpoint's spec says: every value was written to it."""
    missing = list(_missing(said, trained))
    if missing and "extends" not in said:
        named = ", ".join(f"`{key}`" for key in missing[:4]) + (" and more" if len(missing) > 4 else "")
        raise TrainError(
            f"{path} is not whole: {named} should be there\n"
            "  = fix: put it back as it was, or remove it: the newest checkpoint's is taken then"
        )


def _missing(said: Mapping[str, Any], trained: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key, value in trained.items():
        if key not in said:
            yield f"{at}{key}"
        elif isinstance(value, Mapping) and isinstance(said[key], Mapping) and _alike(value, said[key]):
            yield from _missing(said[key], value, f"{at}{key}.")


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two have the same fields: another type has others."""
    return one.get("type") == other.get("type")


def _as_now(made: Mapping[str, Any], allow_plugins: bool) -> Spec:
    """The spec in a checkpoint as this version of Blueprint reads it; its plugins are loaded where the run's may be."""
    from blueprint.load import load

    return load(unpacked(made["spec"], made.get("files", {})), allow_plugins=allow_plugins)
