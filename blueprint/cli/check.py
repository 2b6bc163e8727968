"""`blueprint check`: everything that is wrong with specs, at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Overrides, emit, read, split


def command(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC|KEY=VALUE", help="Specs, and changes to them.")],
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Say everything that is wrong with specs, or that they are good."""
    from blueprint.diagnosis import SpecError
    from blueprint.plan import plan

    paths, overrides = split(specs)
    if not paths:
        raise typer.BadParameter("name a spec to check")
    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            spec = read(path, [*overrides, *(changes or ())], allow_plugins)
            found = plan(spec).hash
        except SpecError as error:
            results.append({"file": path, "ok": False, "problems": [each.to_plain() for each in error.problems]})
            if not json:
                typer.echo(str(error), err=True)
            continue
        results.append({"file": path, "ok": True, "name": spec.name, "hash": found, "problems": []})
        if not json:
            typer.echo(f"ok: {spec.name} ({found})")
    if json:
        emit({"specs": results})
    if not all(each["ok"] for each in results):
        raise typer.Exit(1)
