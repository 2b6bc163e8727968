"""`blueprint export`: a model of ours as a Hugging Face checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, emit
from blueprint.cli.table import table
from blueprint.cli.transfer import FamilyName, moving


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, build or import, or a checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    family: FamilyName = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Export a model as a checkpoint that the transformers library opens: config.json, safetensors, tokenizer."""
    from blueprint.interop.export import export_folder

    with moving("exporting") as progress:
        done = export_folder(run, output, family=family, allow_plugins=allow_plugins, progress=progress)
    if json:
        emit(done.to_plain())
    else:
        typer.echo(table(done.rows()))
