"""`blueprint check`: everything that is wrong with specs, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from blueprint.cli.checked import checked
from blueprint.cli.common import AllowPlugins, AsJson, Overrides, split


def command(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC|KEY=VALUE", help="Specs, and changes to them.")],
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Say everything that is wrong with specs, or that they are good."""
    paths, overrides = split(specs)
    if not paths:
        raise typer.BadParameter("name a spec to check")
    if not checked(paths, [*overrides, *(changes or ())], allow_plugins=allow_plugins, json=json):
        raise typer.Exit(1)
