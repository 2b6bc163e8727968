"""`blueprint import`: a Hugging Face checkpoint becomes a spec that can be edited, and weights under our names.

OUT/spec.yaml           the spec, as a person would write it
OUT/model.safetensors   the weights, their bytes as they came
OUT/lock.json           versions and the plan's hash
and what `blueprint.interop.record` lists, for the way back
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blueprint.cost.units import count
from blueprint.diagnosis import Problem
from blueprint.files import atomic_folder, write_atomic
from blueprint.interop import record as records
from blueprint.interop.config import Config, FamilyError, read_config
from blueprint.interop.error import CheckpointError
from blueprint.interop.family import Family, find_family, read_family
from blueprint.interop.live import ModelSink, shapes_of
from blueprint.interop.moves import Moves, moves_in
from blueprint.interop.names import problem
from blueprint.interop.record import Kept, Record
from blueprint.interop.rules import Rules, read_rules
from blueprint.interop.safetensors_io import SINGLE, Checkpoint, Shape, open_checkpoint
from blueprint.interop.safetensors_out import Out, ordered, writer
from blueprint.interop.template import Filled, fill
from blueprint.interop.tokenizer import line, tokenizer_of
from blueprint.interop.transfer import move_in, same_bits
from blueprint.kinds import Tokenizer
from blueprint.model.build import build_plan
from blueprint.model.face import build
from blueprint.schema.spec import Spec
from blueprint.training.folder import lock, said_start, write_json

#: Told after every move: bytes moved, bytes in all, and a name of ours.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Ready:
    """A checkpoint that was understood: nothing has been moved, and everything fits."""

    filled: Filled
    checkpoint: Checkpoint
    moves: Moves
    ours: Mapping[str, Shape]

    @property
    def record(self) -> Record:
        """What the export will want to know."""
        files: dict[str, dict[str, Any]] = {
            name: {"metadata": said, "tensors": []} for name, said in self.checkpoint.metadata.items()
        }
        for tensor in self.checkpoint.tensors.values():
            files[tensor.file.name]["tensors"].append([tensor.name, tensor.dtype, list(tensor.shape)])
        family, filled = self.filled.family, self.filled
        return Record(
            family.name,
            family.text_hash,
            filled.plan.hash,
            list(filled.ignore),
            self.moves.layout,
            files,
            dict(self.moves.tied),
            list(self.moves.dropped),
        )


@dataclass(frozen=True)
class Imported:
    """An import folder and what is in it."""

    folder: Path
    family: str
    plan: str
    parameters: int
    tensors: int
    nbytes: int
    tied: int
    dropped: int

    def to_plain(self) -> dict[str, Any]:
        """The import as JSON-ready values."""
        return {
            "folder": str(self.folder),
            "spec": str(self.folder / "spec.yaml"),
            "family": self.family,
            "hash": self.plan,
            "parameters": self.parameters,
            "tensors": self.tensors,
            "bytes": self.nbytes,
            "tied": self.tied,
            "dropped": self.dropped,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The import as a table of two columns."""
        more = [f"{self.tied} tied copies"] * bool(self.tied) + [f"{self.dropped} dropped"] * bool(self.dropped)
        return [
            ("family", self.family),
            ("plan", self.plan),
            ("parameters", f"{count(self.parameters)} ({self.parameters:,})"),
            ("tensors", f"{self.tensors}{' and ' * bool(more)}{', '.join(more)}"),
            ("bytes", f"{self.nbytes:,}"),
            ("spec", str(self.folder / "spec.yaml")),
        ]


def import_folder(
    path: str | Path,
    out: str | Path,
    *,
    family: str | Path | None = None,
    ignore: Sequence[str] = (),
    progress: Progress | None = None,
) -> Imported:
    """Import the checkpoint in the folder `path` into the new folder `out`; what `blueprint import` does.

    Raises `FamilyError` for what the family does not fit, `CheckpointError` for files that are missing or damaged and
    for a folder that is not empty.
    """
    path, out = Path(path), Path(out)
    refuse_used(out)
    ready = understand(path, family, ignore)
    with atomic_folder(out) as temporary:
        made = _write(ready, path, temporary, progress)
    return Imported(out, ready.filled.family.name, ready.filled.plan.hash, *made)


def import_hf(
    path: str | Path, family: str | Path | None = None, *, ignore: Sequence[str] = ()
) -> tuple[Spec, nn.Module]:
    """The spec and the model, in float32 and eval mode, of a checkpoint of the Hugging Face hub; nothing is written.

    Raises as `import_folder` does.
    """
    ready = understand(Path(path), family, ignore)
    spec, tokenizer = ready.filled.spec, tokenizer_of(Path(path), ready.filled.spec)
    if tokenizer is not None:
        spec = spec.model_copy(update={"tokenizer": Tokenizer.of(tokenizer)})
    model = build(spec).eval()
    sink = ModelSink(model, {name: tensor.dtype for name, tensor in _ours(ready).items()})
    with torch.no_grad():
        for move in ready.moves.moves:
            move_in(move, ready.checkpoint.tensors, ready.ours, sink)
    model.imported = Live(Path(path), ready.filled.family, ready.filled.config, ready.record)  # type: ignore[assignment]
    model.start_id = said_start(Path(path))  # type: ignore[assignment]
    return spec, model


@dataclass(frozen=True)
class Live:
    """Where a model in memory came from."""

    path: Path
    family: Family
    config: Config
    record: Record


def refuse_used(out: Path) -> None:
    """Raise `CheckpointError` where a folder that is to be written holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} holds something already, which is not overwritten: choose another folder")


def understand(path: Path, family: str | Path | None = None, ignore: Sequence[str] = ()) -> Ready:
    """Read a checkpoint's config and headers, and find out what goes where; all faults are told at once."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}: name the folder of a checkpoint, with config.json and safetensors")
    config = read_config(path)
    found = find_family(config) if family is None else read_family(family)
    checkpoint = open_checkpoint(path)
    filled = fill(found, config, ignore)
    problems: list[Problem] = []
    rules, moves = None, None
    ours = shapes_of(build_plan(filled.plan, device="meta"))
    theirs = {name: (tensor.dtype, tensor.shape) for name, tensor in checkpoint.tensors.items()}
    for step in ("rules", "used"):
        try:
            if step == "rules":
                rules = read_rules(found)
                moves = moves_in(rules, filled.env, ours, theirs)
            else:
                filled.check_used()
        except FamilyError as error:
            problems += error.problems
    if rules is not None and moves is not None:
        problems += _false_copies(rules, moves, checkpoint)
    if problems or moves is None:
        raise FamilyError(problems)
    return Ready(filled, checkpoint, moves, ours)


def _false_copies(rules: Rules, moves: Moves, checkpoint: Checkpoint) -> list[Problem]:
    """Tensors that should be copies of another, and are not."""
    found = []
    for copy, original in moves.tied.items():
        if original in checkpoint.tensors and not same_bits(checkpoint.tensors[copy], checkpoint.tensors[original]):
            layout = rules.layouts[moves.layout]
            at = next(each for each, _ in rules.tied if each.laid(layout).match(copy) is not None)
            message = f"`{copy}` is not the same as `{original}`, which it is said to be tied to"
            found.append(problem("not-tied", message, at.node))
    return found


def _ours(ready: Ready) -> dict[str, Out]:
    """Our tensors with the number formats they come in."""
    found = {}
    for move in ready.moves.moves:
        dtype = ready.checkpoint.tensors[move.theirs[0].names[0]].dtype
        found.update({name: Out(name, dtype, ready.ours[name]) for name in move.ours})
    return {name: found[name] for name in ready.ours}


def _write(ready: Ready, path: Path, folder: Path, progress: Progress | None) -> tuple[int, int, int, int, int]:
    outs, tensors = _ours(ready), ready.checkpoint.tensors
    total, done = sum(out.nbytes for out in outs.values()), 0
    with writer(folder / SINGLE, ordered(list(outs.values())), {"format": "pt"}) as sink:
        for move in ready.moves.moves:
            move_in(move, tensors, ready.ours, sink)
            done += sum(outs[name].nbytes for name in move.ours)
            if progress is not None:
                progress(done, total, move.ours[0])
    kept, filled = Kept(folder, ready.record), ready.filled
    kept.hf.mkdir()
    for each in records.beside(path):
        shutil.copyfile(each, kept.hf / each.name)
    if ready.moves.dropped:
        dropped = [tensors[name] for name in ready.moves.dropped]
        with writer(kept.dropped, ordered([Out(t.name, t.dtype, t.shape) for t in dropped])) as sink:
            for tensor in dropped:
                sink.put_stored(tensor.name, tensor)
    write_atomic(kept.family, filled.family.text)
    kept.record.write(folder)
    write_json(folder / "lock.json", lock(filled.spec, filled.plan.hash, {}))
    tokenizer = tokenizer_of(kept.hf, filled.spec)
    write_atomic(folder / "spec.yaml", filled.text + (line(tokenizer, folder) if tokenizer else ""))
    parameters = sum(parameter.numel() for parameter in build_plan(filled.plan, device="meta").parameters())
    return parameters, len(outs), total, len(ready.moves.tied), len(ready.moves.dropped)
