"""`blueprint resume`: on with a run, as if it had never stopped."""

from __future__ import annotations

from blueprint.cli.common import AllowPlugins, Overrides, Quiet, RunPath, Trailing, finished


def command(
    run: RunPath,
    trailing: Trailing = None,
    changes: Overrides = None,
    quiet: Quiet = False,
    allow_plugins: AllowPlugins = False,
) -> None:
    """Go on with a run from its newest whole checkpoint, bit for bit as if it had never stopped."""
    from blueprint.training.run import resume

    overrides = [*(trailing or ()), *(changes or ())]
    finished(resume(run, overrides, progress=not quiet, allow_plugins=allow_plugins), quiet)
