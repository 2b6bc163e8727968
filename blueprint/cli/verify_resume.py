"""`blueprint verify-resume`: shows that stopping and resuming changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Overrides, SpecPath, Trailing, emit, read


def command(
    spec: SpecPath,
    trailing: Trailing = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of the whole run.")] = None,
    stop: Annotated[int | None, typer.Option(min=1, help="The step to stop at.")] = None,
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Train a spec in one go and with a stop in between, and compare weights, losses and batches bit for bit."""
    found = read(spec, [*(trailing or ()), *(changes or ())], allow_plugins)
    from blueprint.training.verify import verify_resume

    report = verify_resume(found, steps=steps, stop=stop, allow_plugins=allow_plugins)
    if json:
        emit(report.to_plain())
    else:
        typer.echo(str(report))
    if not report.ok:
        # Whatever the spec says, a resume that is not exact is our fault.
        raise typer.Exit(2)
