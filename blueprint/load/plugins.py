"""`plugins`: a user's own components, imported only where the user allowed it in the call or on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from blueprint.diagnosis import Problem
from blueprint.registry import PluginError, load_plugin
from blueprint.tree import Scalar


def load_plugins(said: Iterable[Scalar], allowed: bool) -> tuple[list[str], list[Problem]]:
    """Import every plugin, files relative to the spec that names them; returns what to import in another process.

    Without permission nothing runs, and each plugin is a problem that says how to give it.
    """
    loaded: dict[str, None] = {}
    problems: list[Problem] = []
    for item in said:
        reference = str(item.value)
        folder = item.span.source.directory
        if not allowed:
            message = f"plugin `{reference}` runs code, which needs your permission"
            fix = "read it, then pass --allow-plugins, or allow_plugins=True in Python"
            problems.append(Problem("plugin", message, ("plugins",), item.span, fix=fix, notes=item.notes))
            continue
        try:
            load_plugin(reference, Path(folder) if folder else None)
        except (PluginError, SystemExit) as error:
            message = str(error) if isinstance(error, PluginError) else f"plugin `{reference}` ended the process"
            problems.append(Problem("plugin", message, ("plugins",), item.span, notes=item.notes))
            continue
        where = os.path.join(folder or "", reference)
        loaded[os.path.abspath(where) if reference.endswith(".py") else reference] = None
    return list(loaded), problems
