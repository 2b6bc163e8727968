"""`blueprint schema`: a JSON Schema for editors and validators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, emit, read
from blueprint.cli.list import Plugin, load_plugins


def command(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="A spec whose plugins are to be in it too.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Write the JSON Schema (2020-12) of everything registered, for completion and checks in an editor."""
    from blueprint.schema.json_schema import json_schema

    load_plugins(plugin)
    if spec is not None:
        read(spec, (), allow_plugins)
    schema = json_schema()
    if output is None:
        emit(schema)
        return
    import json

    from blueprint.files import write_atomic

    write_atomic(output, json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
    typer.echo(f"wrote {output}: begin a spec with `# yaml-language-server: $schema={output}`")
