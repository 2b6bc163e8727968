"""`blueprint diff`: what two specs differ in, and whether weights transfer."""

from __future__ import annotations

from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, emit, read


def command(
    before: Annotated[str, typer.Argument(metavar="A", help="A spec, or the folder of a run or a build.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Compare two specs by what they mean: architecture, initialisation, training, cosmetics, and the weights."""
    from blueprint.diff import diff

    found = diff(read(before, (), allow_plugins), read(after, (), allow_plugins))
    if json:
        emit(found.to_plain())
    else:
        typer.echo(str(found))
