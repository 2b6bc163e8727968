"""`blueprint plan`: the spec with nothing left to say."""

from __future__ import annotations

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Overrides, SpecPath, Trailing, emit, read


def command(
    spec: SpecPath,
    trailing: Trailing = None,
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Write a spec out: every layer, every part, every default that matters, and how attention will be computed."""
    from blueprint.plan import plan
    from blueprint.render import plan_plain

    found = plan(read(spec, [*(trailing or ()), *(changes or ())], allow_plugins))
    if json:
        emit(plan_plain(found))
    else:
        typer.echo(str(found))
