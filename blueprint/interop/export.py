"""`blueprint export`: a model of ours becomes a checkpoint that the transformers library opens.

The config is the one that came, where the model was imported and its plan is still the same; else it is solved for
from a family's template. Either way the template is filled from it again, and has to give the model's own plan.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from blueprint.cost.units import count
from blueprint.files import write_atomic
from blueprint.interop import record as records
from blueprint.interop.config import NAME, Config, FamilyError, read_config
from blueprint.interop.error import CheckpointError
from blueprint.interop.family import Family, read_family
from blueprint.interop.import_ import Live, Progress, refuse_used
from blueprint.interop.live import TORCH, Held, fits, shapes_of, state_of
from blueprint.interop.moves import Moves, moves_out
from blueprint.interop.record import Kept, Record, find_record
from blueprint.interop.rules import read_rules
from blueprint.interop.safetensors_io import SINGLE, open_checkpoint
from blueprint.interop.safetensors_out import Out, sharded, shards
from blueprint.interop.solve import solve
from blueprint.interop.template import Filled, fill
from blueprint.interop.transfer import Sinks, Tensor, move_out
from blueprint.model.build import build_plan
from blueprint.plan import plan as planned
from blueprint.schema.spec import Spec

#: Where a config says the number format of its weights.
_FORMAT_FIELDS = ("dtype", "torch_dtype")


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


@dataclass(frozen=True)
class Exported:
    """An export and what is in it; `config` is `as it came` or `solved for`."""

    folder: Path
    family: str
    config: str
    parameters: int
    tensors: int
    nbytes: int
    files: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """The export as JSON-ready values."""
        return {
            "folder": str(self.folder),
            "family": self.family,
            "config": self.config,
            "parameters": self.parameters,
            "tensors": self.tensors,
            "bytes": self.nbytes,
            "files": list(self.files),
        }

    def rows(self) -> list[tuple[str, str]]:
        """The export as a table of two columns."""
        return [
            ("family", self.family),
            ("config", f"{self.folder / NAME}, {self.config}"),
            ("parameters", f"{count(self.parameters)} ({self.parameters:,})"),
            ("tensors", str(self.tensors)),
            ("bytes", f"{self.nbytes:,}"),
            ("files", ", ".join(self.files)),
        ]


def export_hf(model: nn.Module, out: str | Path, family: str | Path | None = None) -> Exported:
    """Write a model as a checkpoint that transformers opens into the new folder `out`.

    Raises `FamilyError` where no family, or not the `family` that is named, can say what the model is, and
    `CheckpointError` for a folder that is not empty.
    """
    spec = getattr(model, "spec", None)
    if not isinstance(spec, Spec):
        raise CheckpointError("this model has no spec: it is none that `bp.build`, `bp.restore` or `bp.import_hf` made")
    origin = _origin(getattr(model, "imported", None) or _record_of(getattr(model, "restored_from", None)))
    state = state_of(model)
    came = None if origin is None else _formats(origin, state)
    tensors = {name: Held(tensor, (came or {}).get(name)) for name, tensor in state.items()}
    return export(Subject(spec.name, spec, tensors, origin), Path(out), family)


def export_folder(
    path: str | Path,
    out: str | Path,
    *,
    family: str | Path | None = None,
    allow_plugins: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Export what lies at `path`, a run, a checkpoint, or the folder of a build or an import; as `export_hf` does.

    Weights are written in the number format they are stored in. Raises `RestoreError` for a path that holds no model.
    """
    return export(_subject(Path(path), allow_plugins), Path(out), family, progress)


def export(subject: Subject, out: Path, family: str | Path | None = None, progress: Progress | None = None) -> Exported:
    """Write a subject into the new folder `out`."""
    refuse_used(out)
    plan = planned(subject.spec)
    meta = build_plan(plan, device="meta")
    ours = shapes_of(meta)
    _whole(subject, ours)
    origin, filled, how = _config(subject, plan.hash, family)
    rules = read_rules(filled.family)
    moves = moves_out(rules, filled.env, ours, origin.record.layout if origin is not None else 0)
    files, names, metadata = _files(subject, moves, origin)
    temporary = out.with_name(f".{secrets.token_hex(6)}.{out.name}")
    temporary.mkdir(parents=True)
    try:
        _write(subject, moves, files, names, metadata, origin, temporary, progress)
        _beside(temporary, filled.config, _format_of(files), origin)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    every = [each for outs in files.values() for each in outs]
    made = tuple(sorted(path.name for path in out.iterdir()))
    parameters = sum(parameter.numel() for parameter in meta.parameters())
    return Exported(out, filled.family.name, how, parameters, len(every), sum(each.nbytes for each in every), made)


# What is exported, and what it is called elsewhere.


def _subject(path: Path, allow_plugins: bool) -> Subject:
    from blueprint.training.restore import open_stored, read_spec, spec_of

    if path.is_dir() and (path / SINGLE).is_file() and not (path / "checkpoints").is_dir():
        spec = read_spec(path, allow_plugins)
        return Subject(str(path), spec, open_checkpoint(path / SINGLE).tensors, _origin(find_record(path)))
    stored = open_stored(path)
    spec = spec_of(stored, allow_plugins)
    names = shapes_of(build_plan(planned(spec), device="meta"))
    # A checkpoint holds what the run keeps besides the model, and a tied tensor under all its names.
    tensors = {name: Held(tensor) for name, tensor in stored.state.items() if name in names}
    return Subject(str(path), spec, tensors, _origin(_record_of(stored.path)))


def _record_of(path: Path | None) -> Kept | None:
    """The record beside a file of weights: in its folder, or in the run's whose checkpoint it is."""
    folders = [] if path is None else path.absolute().parents[:2]
    return next((kept for folder in folders if (kept := find_record(folder)) is not None), None)


def _origin(found: Kept | Live | None) -> Origin | None:
    if isinstance(found, Kept):
        dropped = found.dropped if found.dropped.is_file() else None
        family = replace(read_family(found.family), name=found.record.family)
        return Origin(family, found.record, read_config(found.hf), found.hf, dropped)
    if isinstance(found, Live):
        dropped = found.path if found.record.dropped else None
        return Origin(found.family, found.record, found.config, found.path, dropped)
    return None


def _whole(subject: Subject, ours: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in ours.items():
        there = subject.tensors.get(name)
        if there is None or there.shape != shape:
            what = "is not there" if there is None else f"has the shape {list(there.shape)}, not {list(shape)}"
            raise CheckpointError(f"{subject.name} does not fit its own spec: {name} {what}")


def _config(subject: Subject, plan_hash: str, family: str | Path | None) -> tuple[Origin | None, Filled, str]:
    """The config to write, its family filled from it; the origin is kept where all that came with it still holds."""
    origin = subject.origin
    asked = None if family is None else read_family(family)
    same = origin is not None and (asked is None or asked.text_hash == origin.family.text_hash)
    if origin is not None and same:
        filled = fill(origin.family, origin.config, origin.record.ignore)
        if filled.plan.hash == plan_hash:
            return origin, filled, "as it came"
    known = origin if same else None
    start, ignore = (None, ()) if known is None else (known.config.plain, tuple(known.record.ignore))
    filled = solve(subject.spec, asked or (origin.family if origin is not None else None), start, ignore)
    return None, filled, "solved for"


def _formats(origin: Origin, state: Mapping[str, Any]) -> dict[str, str] | None:
    """The number formats that an imported model's tensors came in, if all its values can still be said in them."""
    try:
        filled = fill(origin.family, origin.config, origin.record.ignore)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        moves = moves_out(read_rules(origin.family), filled.env, shapes, origin.record.layout)
    except FamilyError:
        # The model has changed since: nothing is known of its tensors.
        return None
    came = {out.name: out.dtype for outs in origin.record.outs().values() for out in outs}
    came |= {original: came[copy] for copy, original in origin.record.tied.items() if original not in came}
    found = {name: came.get(move.theirs[0].names[0]) for move in moves.moves for name in move.ours}
    known = {name: code for name, code in found.items() if code is not None}
    whole = known.keys() == state.keys() and all(fits(state[name], code) for name, code in known.items())
    return known if whole else None


# Writing.


def _files(
    subject: Subject, moves: Moves, origin: Origin | None
) -> tuple[dict[str, list[Out]], dict[str, list[str]], dict[str, dict[str, str]]]:
    """The files to write, under which names each tensor of theirs is wanted, and the files' metadata."""
    made: dict[str, Out] = {}
    for move in moves.moves:
        dtype = subject.tensors[move.ours[0]].dtype
        for each in move.theirs:
            shape = each.shape if each.stacked is None else each.shape[1:]
            made.update({name: Out(name, dtype, shape) for name in each.names})
    if origin is None:
        return shards(list(made.values())), {name: [name] for name in made}, {}
    record = origin.record
    wanted: dict[str, list[str]] = {name: [] for name in made}
    files = record.outs()
    for outs in files.values():
        for out in outs:
            source = made.get(out.name) or made.get(record.tied.get(out.name, ""))
            if source is not None:
                wanted[source.name].append(out.name)
                out.dtype = source.dtype
    if not all(wanted.values()):
        return shards(list(made.values())), {name: [name] for name in made}, {}
    return files, wanted, {name: said["metadata"] for name, said in record.files.items()}


def _write(
    subject: Subject,
    moves: Moves,
    files: Mapping[str, list[Out]],
    names: Mapping[str, list[str]],
    metadata: Mapping[str, Mapping[str, str]],
    origin: Origin | None,
    folder: Path,
    progress: Progress | None,
) -> None:
    total, done = sum(subject.tensors[name].nbytes for move in moves.moves for name in move.ours), 0
    with sharded(folder, files, metadata) as places:
        sink = Sinks(places, names)
        for move in moves.moves:
            move_out(move, subject.tensors, sink)
            done += sum(subject.tensors[name].nbytes for name in move.ours)
            if progress is not None:
                progress(done, total, move.ours[0])
        if origin is not None and origin.dropped is not None:
            dropped = open_checkpoint(origin.dropped).tensors
            for name in origin.record.dropped:
                places[name].put_stored(name, dropped[name])


def _beside(folder: Path, config: Config, dtype: str | None, origin: Origin | None) -> None:
    """Write the config, and what came beside the weights."""
    if origin is not None:
        for path in records.beside(origin.beside):
            shutil.copyfile(path, folder / path.name)
        if _format_of(origin.record.outs()) == dtype:
            return
    values = dict(config.plain)
    if dtype is not None:
        values[next((name for name in _FORMAT_FIELDS if name in values), _FORMAT_FIELDS[0])] = dtype
    write_atomic(folder / NAME, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _format_of(files: Mapping[str, list[Out]]) -> str | None:
    """The number format of most of the weights, as a config says it."""
    sizes: dict[str, int] = {}
    for outs in files.values():
        for out in outs:
            if TORCH[out.dtype] in ("float16", "bfloat16", "float32", "float64"):
                sizes[TORCH[out.dtype]] = sizes.get(TORCH[out.dtype], 0) + out.nbytes
    return max(sizes, key=lambda name: sizes[name]) if sizes else None
