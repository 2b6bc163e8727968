"""What commands share: options, reading a spec, and writing text or JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from blueprint.schema.spec import Spec
    from blueprint.training.folder import Run

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AllowPlugins = Annotated[
    bool, typer.Option("--allow-plugins", help="Load the plugins that the spec names. They are code: know them first.")
]
Averaged = Annotated[
    bool, typer.Option("--averaged", help="Take the average of the weights, where the run keeps one (`ema`).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a value of the spec; repeatable.")
]
Trailing = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the spec.")]
SpecPath = Annotated[str, typer.Argument(metavar="SPEC", help="A spec, or the folder of a run or a build.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no samples.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run or a build, or a checkpoint.")]


class Mistake(Exception):
    """Something the user can mend, in plain words."""


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments as (specs, overrides): a word with `=` that names no file is an override."""
    overrides = [word for word in arguments if "=" in word and not os.path.exists(word)]
    return [word for word in arguments if word not in overrides], overrides


def read(path: str, overrides: Sequence[str] | None = None, allow_plugins: bool = False) -> Spec:
    """The spec of a file, or of the folder of a run or a build; raises `SpecError`."""
    from blueprint.load import load

    return load(spec_file(path), overrides=list(overrides or ()), allow_plugins=allow_plugins)


def spec_file(path: str) -> str:
    """The file a user means by a path: a folder of a run or a build holds its spec."""
    inside = Path(path) / "spec.yaml"
    if Path(path).is_dir() and not inside.exists():
        raise Mistake(f"{path} is a folder without a spec.yaml: name a spec, or the folder of a run or a build")
    return str(inside) if inside.exists() else path


def finished(run: Run, quiet: bool) -> None:
    """Say where a quiet run ended, once; one with a progress bar has told already."""
    from blueprint.training.run import first

    if quiet and first():
        typer.echo(f"{run.folder}: {run.status} at step {run.step} of {run.steps}")


def emit(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
