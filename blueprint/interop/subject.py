"""What is to be exported, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from blueprint.interop.config import Config, read_config
from blueprint.interop.family import Family, read_family
from blueprint.interop.import_ import Live
from blueprint.interop.live import Held, shapes_of
from blueprint.interop.record import Kept, Record, find_record
from blueprint.interop.safetensors_io import SINGLE, open_checkpoint
from blueprint.interop.transfer import Tensor
from blueprint.model.build import build_plan
from blueprint.plan import plan as planned
from blueprint.schema.spec import Spec


@dataclass(frozen=True)
class Origin:
    """Where an imported model came from: the family, what an import remembers, and the files that came beside."""

    family: Family
    record: Record
    config: Config
    beside: Path
    dropped: Path | None


@dataclass(frozen=True)
class Subject:
    """What is to be exported: a spec, the tensors by our names, and where they came from if they were imported."""

    name: str
    spec: Spec
    tensors: Mapping[str, Tensor]
    origin: Origin | None


def subject_of(path: Path, allow_plugins: bool) -> Subject:
    """What lies at a path: a run, a checkpoint, or the folder of a build or an import; raises `RestoreError`."""
    from blueprint.training.restore import open_stored, read_spec, spec_of

    if path.is_dir() and (path / SINGLE).is_file() and not (path / "checkpoints").is_dir():
        spec = read_spec(path, allow_plugins)
        return Subject(str(path), spec, open_checkpoint(path / SINGLE).tensors, origin_of(find_record(path)))
    stored = open_stored(path)
    spec = spec_of(stored, allow_plugins)
    names = shapes_of(build_plan(planned(spec), device="meta"))
    # A checkpoint holds what the run keeps besides the model, and a tied tensor under all its names.
    tensors = {name: Held(tensor) for name, tensor in stored.state.items() if name in names}
    return Subject(str(path), spec, tensors, origin_of(record_of(stored.path)))


def record_of(path: Path | None) -> Kept | None:
    """The record beside a file of weights: in its folder, or in the run's whose checkpoint it is."""
    folders = [] if path is None else path.absolute().parents[:2]
    return next((kept for folder in folders if (kept := find_record(folder)) is not None), None)


def origin_of(found: Kept | Live | None) -> Origin | None:
    """Where a model came from, by what is remembered of its import; None for a model that was made here."""
    if isinstance(found, Kept):
        dropped = found.dropped if found.dropped.is_file() else None
        family = replace(read_family(found.family), name=found.record.family)
        return Origin(family, found.record, read_config(found.hf), found.hf, dropped)
    if isinstance(found, Live):
        dropped = found.path if found.record.dropped else None
        return Origin(found.family, found.record, found.config, found.path, dropped)
    return None
