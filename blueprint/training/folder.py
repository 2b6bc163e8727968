"""The run folder: what lies where, what a lock holds, and what a run tells at its end. No Lightning here.

FOLDER/spec.yaml        the resolved spec
FOLDER/tokenizer.json   a copy, where the spec names such a file
FOLDER/lock.json        versions, hashes of data, tokenizer, plugins and plan, the seed
FOLDER/metrics.csv      a row every logged step
FOLDER/checkpoints/     step=000100.ckpt with a checksum beside each
FOLDER/samples.txt      text drawn while training
FOLDER/written.jsonl    what the model writes for held-out sources, where `writing` says so
FOLDER/stages.json      what each stage of the data took, gave and left out, and why; stages.md, the same as a table
FOLDER/loss.png         the loss curve
FOLDER/statistics.csv   what parts measured of themselves (such as the load of experts), part by part
FOLDER/statistics.png   the same as heat maps and curves
FOLDER/summary.json     how it ended
FOLDER/import.json, family.yaml, hf/  what an import remembers, where the run began from one
"""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from blueprint.files import sha256_file, write_atomic
from blueprint.load.dump import dump
from blueprint.load.scalars import resolve
from blueprint.schema.spec import Spec
from blueprint.training.error import TrainError

#: What an import remembers for the way back: its record, its family, and what came beside the weights.
IMPORTED = ("import.json", "family.yaml", "hf")

_PLAIN = re.compile(r"[A-Za-z_/.][\w ./()+*-]*[\w)/]|[A-Za-z_]")


@dataclass(frozen=True)
class Layout:
    """The files of a run folder."""

    root: Path

    @property
    def spec(self) -> Path:
        """The resolved spec."""
        return self.root / "spec.yaml"

    @property
    def lock(self) -> Path:
        """What the run depends on."""
        return self.root / "lock.json"

    @property
    def metrics(self) -> Path:
        """A row every logged step."""
        return self.root / "metrics.csv"

    @property
    def stages(self) -> Path:
        """What each stage took, gave and left out of the data; only where there are stages."""
        return self.root / "stages.json"

    @property
    def stage_table(self) -> Path:
        """The same as a table in Markdown."""
        return self.root / "stages.md"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.root / "checkpoints"

    @property
    def samples(self) -> Path:
        """Text drawn while training."""
        return self.root / "samples.txt"

    @property
    def written(self) -> Path:
        """What the trained model writes for held-out sources, beside what is wanted; only where that is asked for."""
        return self.root / "written.jsonl"

    @property
    def curve(self) -> Path:
        """The picture of the loss."""
        return self.root / "loss.png"

    @property
    def statistics(self) -> Path:
        """What parts measured of themselves, every logged step; only where there are such parts."""
        return self.root / "statistics.csv"

    @property
    def heat(self) -> Path:
        """The picture of what parts measured."""
        return self.root / "statistics.png"

    @property
    def summary(self) -> Path:
        """How the run ended."""
        return self.root / "summary.json"

    @property
    def busy(self) -> Path:
        """Held locked while something writes here."""
        return self.root / ".lock"

    def refuse_used(self) -> None:
        """Raise `TrainError` where the folder already holds a run."""
        for path in (self.spec, self.lock, self.metrics, self.checkpoints):
            if path.exists():
                raise TrainError(
                    f"{self.root} already holds a run ({path.name} is there), which is not overwritten\n"
                    f"  = fix: `blueprint resume {shlex.quote(str(self.root))}` goes on with it; "
                    "or train into another folder"
                )


@dataclass(frozen=True)
class Run:
    """A run as it stands: `status` is `finished`, `interrupted` or, in summary.json alone, `broken` off by an error;
    `step` of `steps` optimizer steps are done.
    """

    folder: Path
    status: str
    step: int
    steps: int
    summary: dict[str, Any] = field(default_factory=dict)

    def report(self) -> str:
        """What a person wants to know at the end: losses beside the baseline, and what to do next."""
        folder = shlex.quote(str(self.folder))
        found = self.summary
        out = [f"{self.status} at step {self.step} of {self.steps}"]
        bits = found.get("validation_bits_per_byte")
        if found.get("validation_loss") is not None:
            per = f"{found.get('measure', 'nats')} per {found.get('unit', 'token')}"
            out += [
                "",
                f"{'':<22}{per:>16}" + (f"{'bits per byte':>16}" if bits else ""),
                _line("validation loss", found["validation_loss"], bits),
            ]
            if found.get("unigram_loss") is not None:
                out.append(_line("unigram baseline", found["unigram_loss"], found["unigram_bits_per_byte"]))
            out += [f"{name.replace('_', ' '):<22}{value:>16.2%}" for name, value in found.get("scores", {}).items()]
        for each in (found.get("writing") or {}).get("scores", {}).values():
            out.append(f"{each['title']:<22}{each['written']:>16.1f}   (sources copied: {each['copied']:.1f})")
        if found.get("data_wait") is not None:
            out += ["", f"{'waiting for data':<22}{found['data_wait']:>16.2%} of the time"]
        layout = Layout(self.folder)
        pictures = {"loss curve": layout.curve, "statistics": layout.heat}
        out += ["", *(f"{name:<12}{path}" for name, path in pictures.items() if path.exists())]
        more = " trainer.max_steps=" + str(2 * self.steps) if self.status == "finished" else ""
        allow = " --allow-plugins" if found.get("plugins") else ""
        prompt = shlex.quote(found.get("prompt") or "def ")
        out += [
            f"{'resume':<12}blueprint resume {folder}{more}{allow}",
            f"{'evaluate':<12}blueprint evaluate {folder}{allow}",
        ]
        if found.get("generates", True):
            out.append(f"{'generate':<12}blueprint generate {folder} --prompt {prompt}{allow}")
        return "\n".join(out)


def _line(name: str, nats: float, bits: float | None) -> str:
    return f"{name:<22}{nats:>16.4f}{'' if bits is None else f'{bits:>16.4f}'}"


def lock(spec: Spec, plan_hash: str, data: Mapping[str, str]) -> dict[str, Any]:
    """What the run depends on besides its spec, as plain values."""
    return {
        "plan": plan_hash,
        "seed": spec.seed,
        "data": dict(data),
        "plugins": plugin_hashes(spec),
        "versions": versions(),
    }


def carried_start(source: Path) -> int | None:
    """The id that a decoder begins with, as an import at `source`, or a run that began from one, was told it."""
    root = _import_at(source)
    return None if root is None else said_start(root / IMPORTED[2])


def said_start(checkpoint: Path) -> int | None:
    """The id that a decoder begins with, as the files beside a checkpoint's weights say it."""
    for name in ("generation_config.json", "config.json"):
        try:
            found = json.loads((checkpoint / name).read_text()).get("decoder_start_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def _import_at(source: Path) -> Path | None:
    """The folder with an import's record, if `source` is in one."""
    return next((each for each in (source, *source.absolute().parents[:2]) if (each / IMPORTED[0]).is_file()), None)


def carry_import(source: Path, folder: Path) -> None:
    """Give a folder what an import at `source`, or a run that began from one, remembers; else nothing."""
    root = _import_at(source)
    if root is None or (folder / IMPORTED[0]).exists():
        return
    record, family, beside = IMPORTED
    shutil.copytree(root / beside, folder / beside, dirs_exist_ok=True)
    shutil.copyfile(root / family, folder / family)
    # Last: with it, the rest is there.
    write_atomic(folder / record, (root / record).read_bytes())


def plugin_hashes(spec: Spec) -> dict[str, str]:
    """A hash of every plugin file, by the name the spec gives it; a module's version where it is no file."""
    return {name: sha256_file(name) if Path(name).is_file() else _version(name.split(".")[0]) for name in spec.plugins}


def versions() -> dict[str, str]:
    """Versions of what computes."""
    packages = {"blueprint": "blueprint-lightning", "torch": "torch", "lightning": "lightning", "numpy": "numpy"}
    return {"python": platform.python_version(), **{name: _version(package) for name, package in packages.items()}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the lock a run began with and the present, in words, apart from the data."""
    out = []
    for what, kind in (("versions", "version of"), ("plugins", "plugin")):
        old, new = before.get(what, {}), now.get(what, {})
        out += [
            f"{kind} {name} changed: {old.get(name)} → {new.get(name)}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
    return out


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of the run; raises `TrainError` where it is missing or damaged."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise TrainError(f"{path} cannot be read: it holds no object")
    return found


def plain_spec(spec: Spec) -> dict[str, Any]:
    """A spec as plain values that read back to it, the plugins it needs included."""
    plain = spec.to_plain()
    if spec.plugins:
        plain["plugins"] = [str(Path(name).resolve()) if Path(name).is_file() else name for name in spec.plugins]
    return plain


def yaml_text(value: Any, indent: int = 0) -> str:
    """Plain values as YAML in block style, which reads back to equal ones."""
    lead = "  " * indent
    out = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            out.append(f"{lead}{_scalar(str(key))}:\n{yaml_text(item, indent + 1)}")
        else:
            out.append(f"{lead}{_scalar(str(key))}: {_inline(item)}\n")
    return "".join(out)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value) if isinstance(value, str) else dump(value)


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) is not None and resolve(text) == text
    return text if plain else dump(text)
