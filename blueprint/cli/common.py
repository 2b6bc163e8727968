"""What commands share: options, reading a spec, and writing text or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blueprint.cli.specs import Mistake, emit, read, spec_file, split

if TYPE_CHECKING:
    from blueprint.training.folder import Run

__all__ = [
    "AllowPlugins",
    "AsJson",
    "Averaged",
    "Mistake",
    "Overrides",
    "Quiet",
    "RunPath",
    "SpecPath",
    "Trailing",
    "emit",
    "finished",
    "read",
    "spec_file",
    "split",
]

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


def finished(run: Run, quiet: bool) -> None:
    """Say where a quiet run ended, once; one with a progress bar has told already."""
    from blueprint.training.run import first

    if quiet and first():
        typer.echo(f"{run.folder}: {run.status} at step {run.step} of {run.steps}")
