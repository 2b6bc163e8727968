"""`blueprint export`: a model of ours becomes a checkpoint that the transformers library opens.

The config is the one that came, where the model was imported and its plan is still the same; else it is solved for
from a family's template. Either way the template is filled from it again, and has to give the model's own plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from blueprint.cost.units import count
from blueprint.files import atomic_folder
from blueprint.interop.config import NAME, FamilyError
from blueprint.interop.error import CheckpointError
from blueprint.interop.export_files import files_of, format_of, write_beside, write_tokenizer, write_weights
from blueprint.interop.family import read_family
from blueprint.interop.import_ import Progress, refuse_used
from blueprint.interop.live import Held, fits, shapes_of, state_of
from blueprint.interop.moves import moves_out
from blueprint.interop.rules import read_rules
from blueprint.interop.solve import solve
from blueprint.interop.subject import Origin, Subject, origin_of, record_of, subject_of
from blueprint.interop.template import Filled, fill
from blueprint.model.build import build_plan
from blueprint.plan import plan as planned
from blueprint.schema.spec import Spec


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
    origin = origin_of(getattr(model, "imported", None) or record_of(getattr(model, "restored_from", None)))
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
    return export(subject_of(Path(path), allow_plugins), Path(out), family, progress)


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
    files, names, metadata = files_of(subject, moves, origin)
    with atomic_folder(out) as temporary:
        write_weights(subject, moves, files, names, metadata, origin, temporary, progress)
        write_beside(temporary, filled.config, format_of(files), origin)
        write_tokenizer(temporary, subject.spec.tokenizer)
    every = [each for outs in files.values() for each in outs]
    made = tuple(sorted(path.name for path in out.iterdir()))
    parameters = sum(parameter.numel() for parameter in meta.parameters())
    return Exported(out, filled.family.name, how, parameters, len(every), sum(each.nbytes for each in every), made)


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
