"""`blueprint list`: what can be said, and where it is defined."""

from __future__ import annotations

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
        raise Mistake(
            f"no kind is called `{kind}`; " + (f"did you mean `{meant}`?" if meant else f"there are {', '.join(listing)}")
        )
    chosen = {kind: listing[kind]} if kind is not None else listing
    if json:
        emit(chosen)
        return
    rows = []
    for name, members in chosen.items():
        for index, (member, facts) in enumerate(members.items()):
            about = facts["about"] if kind is not None else facts["about"].split(" (")[0].split(": ")[0].rstrip(".")
            rows.append([name if not index else "", member, facts["source"], about])
    typer.echo(table(rows, ["kind", "member", "source", "what it is"]))


def load_plugins(references: list[str] | None) -> None:
    """Load component files and modules that the user named on the command line."""
    from blueprint.registry import load_plugin

    for reference in references or ():
        load_plugin(reference, Path.cwd())


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
                "version": cls.version,
                "traits": sorted(cls.traits),
            }
            for cls in members(kind)
        }
        if each:
            found[kind] = each
    return found
