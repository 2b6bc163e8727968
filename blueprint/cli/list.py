"""`blueprint list`: what can be said, and where it is defined."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from blueprint.cli.common import AsJson, Mistake, emit
from blueprint.cli.table import table

Plugin = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Load a component file (`./mine.py`) or module too; it is code: know it first."),
]


def command(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, with the whole description.")] = None,
    plugin: Plugin = None,
    json: AsJson = False,
) -> None:
    """Show the registry: every kind with its members."""
    from blueprint.diagnosis import nearest

    load_plugins(plugin)
    listing = registry()
    if kind is not None and kind not in listing:
        meant = nearest(kind, listing)
        hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(listing)}"
        raise Mistake(f"no kind is called `{kind}`; {hint}")
    chosen = {kind: listing[kind]} if kind is not None else listing
    if json:
        emit(chosen)
        return
    rows = [
        [name if not index else "", member, facts["package"], facts["about"] if kind else brief(facts["about"])]
        for name, members in chosen.items()
        for index, (member, facts) in enumerate(members.items())
    ]
    typer.echo(table(rows, ["kind", "member", "from", "what it is"]))
    if kind is not None:
        typer.echo("\n" + table([[member, facts["source"]] for member, facts in chosen[kind].items()]))


def brief(about: str) -> str:
    """The beginning of a description: what it is, without its formula and its source."""
    return re.split(r": |; | \((?=[A-Z])|, \w = ", about)[0].rstrip(".:")


def load_plugins(references: list[str] | None) -> None:
    """Load component files and modules that the user named on the command line."""
    from blueprint.registry import load_plugin

    for reference in references or ():
        load_plugin(reference, Path.cwd())


def package(cls: type) -> str:
    """Where a component comes from: a package's name, or a user's file."""
    first = cls.__module__.split(".")[0]
    return Path(sys.modules[cls.__module__].__file__ or "").name if first.startswith("blueprint_plugin") else first


def registry() -> dict[str, dict[str, dict[str, Any]]]:
    """Every kind that has members: what each is, and where."""
    import blueprint.schema.spec  # noqa: F401  (declares the kinds of models)
    from blueprint.registry import kinds, members
    from blueprint.schema.explain import class_doc, class_place

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in kinds():
        each = {
            cls.spec_name: {
                "about": class_doc(cls),
                "source": class_place(cls),
                "package": package(cls),
                "version": cls.version,
                "traits": sorted(cls.traits),
            }
            for cls in members(kind)
        }
        if each:
            found[kind] = each
    return found
