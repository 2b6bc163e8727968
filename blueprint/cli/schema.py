"""`blueprint schema`: a JSON Schema for editors and validators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import emit
from blueprint.cli.list import Plugin, load_plugins


def command(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
    plugin: Plugin = None,
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Needed for --plugin: plugins are code, know them first.")
    ] = False,
) -> None:
    """Write the JSON Schema (2020-12) of everything registered, for completion and checks in an editor."""
    from blueprint.cli.common import Mistake
    from blueprint.schema.json_schema import json_schema

    if plugin and not allow_plugins:
        raise Mistake("plugins are code: say --allow-plugins to have them loaded")
    load_plugins(plugin)
    schema = json_schema()
    if output is None:
        emit(schema)
        return
    import json

    from blueprint.files import write_atomic

    write_atomic(output, json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
    typer.echo(f"wrote {output}: begin a spec with `# yaml-language-server: $schema={output}`")
