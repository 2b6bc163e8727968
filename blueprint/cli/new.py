"""`blueprint new`: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import Mistake


def command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a file, which must not exist.")
    ] = None,
    model: Annotated[str, typer.Option(help="The kind of model.")] = "decoder",
) -> None:
    """Write a commented starter spec."""
    from blueprint.files import write_atomic
    from blueprint.schema.starter import starter

    text = starter(model)
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise Mistake(f"{output} exists: choose another name, or remove it")
    write_atomic(output, text)
    typer.echo(f"wrote {output}: change it, then `blueprint check {output}` and `blueprint plan {output}`")
