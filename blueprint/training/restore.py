"""Models back from disk: a run folder, a checkpoint alone, or a folder with spec and weights. No Lightning here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blueprint.model.choose import within
from blueprint.schema.spec import Spec
from blueprint.training import checkpoint as files
from blueprint.training.error import RestoreError
from blueprint.training.folder import carried_start
from blueprint.training.kept import unpacked

_PREFIX = "model."
#: The sections of a spec that say in which precision it computes.
_PRECISE = ("trainer", "precision")
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Stored:
    """What lies at a path: the weights by the model's names, and where its spec is."""

    path: Path
    state: dict[str, Tensor]
    spec: Mapping[str, Any] | Path | None
    step: int | None = None
    averaged: dict[str, Tensor] = field(default_factory=dict)


def restore(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    weights: Literal["trained", "averaged"] = "trained",
    allow_plugins: bool = False,
    like: Spec | None = None,
) -> nn.Module:
    """The model at `path`, in eval mode, its `spec` set: a run folder, a checkpoint, or a build or import folder.

    A run folder gives its newest whole checkpoint, of which `weights` chooses those that learned or their average
    (`ema`). It computes in the precision that its own spec says, or that of `like`. Raises `RestoreError` for what is
    missing, damaged, foreign, or holds code; `SpecError` where the spec needs a plugin that is neither loaded nor
    allowed.
    """
    from blueprint.model.face import build

    stored = open_stored(path)
    spec = spec_of(stored, allow_plugins)
    model = build(spec if like is None else spec.model_copy(update={key: getattr(like, key) for key in _PRECISE}))
    report = _fill(model, stored, "all")
    if not report.whole or report.unknown:
        raise RestoreError(f"{stored.path} does not fit its own spec:\n{report}")
    if weights == "averaged":
        _wear_averages(model, stored, spec)
    model.spec = spec  # type: ignore[assignment]
    model.trained_steps = stored.step  # type: ignore[assignment]
    model.restored_from = stored.path  # type: ignore[assignment]
    model.start_id = carried_start(stored.path)  # type: ignore[assignment]
    return model.to(device).eval()


@torch.no_grad()
def _wear_averages(model: nn.Module, stored: Stored, spec: Spec) -> None:
    """Give the model the averaged weights for those that were averaged."""
    if not stored.averaged:
        why = "the run keeps none" if spec.ema is None else f"they begin after step {spec.ema.begin}"
        fix = "train with `ema: {}`" if spec.ema is None else "take a later checkpoint"
        raise RestoreError(f"{stored.path} holds no averaged weights: {why}\n  = fix: {fix}")
    weights = dict(model.named_parameters())
    for name, mean in stored.averaged.items():
        weights[name].copy_(mean)


def read_spec(path: str | Path, allow_plugins: bool = False) -> Spec:
    """The spec of a run folder, a checkpoint or a build folder."""
    path = Path(path)
    if path.is_dir() and (path / "spec.yaml").is_file():
        from blueprint.load import load

        return load(path / "spec.yaml", allow_plugins=allow_plugins)
    return spec_of(open_stored(path), allow_plugins)


@dataclass
class Loaded:
    """What became of the weights: names `taken`, `left_out` by choice, `missing` at the source, `misshapen` with both
    shapes, `several` that are one weight here and different ones there, and `unknown` to the model.
    """

    source: Path
    taken: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    several: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything that was chosen was found and fitted."""
        return not self.missing and not self.misshapen and not self.several

    def fitting(self) -> list[str]:
        """How the names begin of those parts of the model of which every weight was taken."""
        wrong = {name.split(".")[0] for name in (*self.missing, *self.misshapen)}
        wrong |= {name.split(".")[0] for names in self.several for name in names.split(" … ")}
        return [top for top in dict.fromkeys(name.split(".")[0] for name in self.taken) if top not in wrong]

    def __str__(self) -> str:
        out = [f"{len(self.taken)} weights taken from {self.source}"]
        out += [f"  not there: {name}" for name in self.missing]
        out += [f"  of another shape: {name}: {was} there, {now} here" for name, (was, now) in self.misshapen.items()]
        out += [f"  one weight here, different ones there: {names}" for names in self.several]
        out += [f"  unknown to this model: {name}" for name in self.unknown]
        out += [f"  {len(self.left_out)} others keep their initial values"] if self.left_out else []
        return "\n".join(out)


def load_weights(model: nn.Module, path: str | Path, parts: str | Sequence[str] = "all", strict: bool = True) -> Loaded:
    """Begin from the weights at `path`: all, or those whose names begin with one of `parts`.

    Raises `RestoreError` if `strict` and a chosen weight is not there or has another shape, or if a part names none of
    the model's weights.
    """
    stored = open_stored(path)
    report = _fill(model, stored, parts)
    if strict and not report.whole:
        fitting = ", ".join(report.fitting())
        choose = f"say `start.parts: [{fitting}]`, all of which fit" if fitting else "choose with `start.parts`"
        raise RestoreError(f"`start.from`: {report}\n  = fix: {choose}, or `start.strict: false` for whatever fits")
    if not report.taken:
        raise RestoreError(f"`start.from`: no weight of {path} fits this model")
    return report


def open_stored(path: str | Path) -> Stored:
    """What lies at a path, whichever of the forms it is."""
    path = Path(path)
    if not path.exists():
        raise RestoreError(f"{path} does not exist (looked from {Path.cwd()})")
    if path.is_file():
        return _safetensors(path, None) if path.suffix == ".safetensors" else _checkpoint(path)
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    if files.listing(folder):
        newest, damaged = files.newest_whole(folder)
        if newest is None:
            raise RestoreError("\n".join(f"{each} is damaged: {why}" for each, why in damaged.items()))
        for each, why in damaged.items():
            warnings.warn(f"passing over {each}: {why}; this is {newest.name}", stacklevel=2)
        return _checkpoint(newest, verify=False)
    if (path / _WEIGHTS).is_file():
        spec = path / "spec.yaml"
        return _safetensors(path / _WEIGHTS, spec if spec.is_file() else None)
    has = "a spec without weights" if (path / "spec.yaml").is_file() else "neither a run nor a model"
    raise RestoreError(f"{path} holds {has}: no checkpoint and no {_WEIGHTS} is there")


def spec_of(stored: Stored, allow_plugins: bool = False) -> Spec:
    """The spec that came with the weights."""
    from blueprint.load import load

    if stored.spec is None:
        raise RestoreError(f"{stored.path} comes without its spec: spec.yaml must lie beside it")
    return load(stored.spec, allow_plugins=allow_plugins)


def _checkpoint(path: Path, verify: bool = True) -> Stored:
    found = files.read(path, verify=verify)
    ours = found.get("blueprint")
    if not isinstance(ours, dict) or not isinstance(ours.get("spec"), dict):
        raise RestoreError(f"{path} is no checkpoint of Blueprint: it holds no spec")
    state = {name.removeprefix(_PREFIX): value for name, value in found["state_dict"].items() if _PREFIX in name}
    said = unpacked(ours["spec"], ours.get("files", {}))
    return Stored(path, state, said, int(found.get("global_step", 0)), dict(found.get(files.AVERAGED, {})))


def _safetensors(path: Path, spec: Path | None) -> Stored:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Stored(path, load_file(path), spec)
    except (SafetensorError, OSError) as error:
        raise RestoreError(f"{path} cannot be read: {error}") from error


@torch.no_grad()
def _fill(model: nn.Module, stored: Stored, parts: str | Sequence[str]) -> Loaded:
    """Copy what fits into the model. Tensors that a model holds under two names may be stored under one."""
    report = Loaded(stored.path)
    own = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, tensor in own.items():
        names.setdefault(id(tensor), []).append(name)
    chosen = None if parts == "all" else [parts] if isinstance(parts, str) else list(parts)
    for part in chosen or []:
        if not any(within(name, part) for name in own):
            tops = sorted({name.split(".")[0] for name in own})
            raise RestoreError(f"`start.parts`: no weight's name begins with `{part}` (there are: {', '.join(tops)})")
    for aliases in names.values():
        tensor = own[aliases[0]]
        held = [stored.state[name] for name in aliases if name in stored.state]
        source = held[0] if held else None
        if chosen is not None and not any(within(name, part) for name in aliases for part in chosen):
            report.left_out.append(aliases[0])
        elif source is None:
            report.missing.append(aliases[0])
        elif source.shape != tensor.shape:
            report.misshapen[aliases[0]] = (tuple(source.shape), tuple(tensor.shape))
        else:
            if any(not torch.equal(source, each) for each in held[1:]):
                report.several.append(f"{aliases[0]} … {aliases[-1]}")
            tensor.copy_(source)
            report.taken.append(aliases[0])
    report.unknown += [name for name in stored.state if name not in own]
    return report
