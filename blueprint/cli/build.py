"""`blueprint build`: a spec compiled into a folder, and proved to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Overrides, SpecPath, Trailing, emit, read


def command(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    trailing: Trailing = None,
    weights: Annotated[bool, typer.Option("--weights", help="Write seeded weights too.")] = False,
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Check, plan and build a spec, run it forward and backward once, and write plan, cost and a picture."""
    found = read(spec, [*(trailing or ()), *(changes or ())], allow_plugins)
    from blueprint.build_folder import build_folder

    built = build_folder(found, output, weights=weights)
    if json:
        emit(built.to_plain())
    else:
        typer.echo(str(built))
