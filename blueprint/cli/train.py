"""`blueprint train`: a spec into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, Overrides, Quiet, SpecPath, Trailing, finished, read


def command(
    spec: SpecPath,
    trailing: Trailing = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="RUN", help="The new run's folder.")] = None,
    changes: Overrides = None,
    quiet: Quiet = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Train a spec into a new run folder."""
    found = read(spec, [*(trailing or ()), *(changes or ())], allow_plugins)
    from blueprint.training.run import fit

    finished(fit(found, output or Path("runs") / found.name, progress=not quiet), quiet)
