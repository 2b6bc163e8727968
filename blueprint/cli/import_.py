"""`blueprint import`: a Hugging Face checkpoint as a spec and weights of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import AsJson, emit
from blueprint.cli.table import table
from blueprint.cli.transfer import FamilyName, moving


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with config.json and safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The folder to write.")],
    family: FamilyName = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="FIELD", help="A field of the config to leave out of account; repeatable."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Import a Hugging Face checkpoint: an editable spec, and weights as safetensors; every tensor is accounted for."""
    from blueprint.interop.config import read_config
    from blueprint.interop.family import find_family, read_family
    from blueprint.interop.safetensors_io import open_checkpoint

    if checkpoint.is_dir():
        # What is wrong with any of them is told before torch, which takes seconds, is imported.
        config = read_config(checkpoint)
        _ = find_family(config) if family is None else read_family(family)
        open_checkpoint(checkpoint)
    from blueprint.interop.import_ import import_folder

    with moving("importing") as progress:
        done = import_folder(checkpoint, output, family=family, ignore=tuple(ignore or ()), progress=progress)
    if json:
        emit(done.to_plain())
    else:
        typer.echo(table(done.rows()))
