"""`blueprint explain`: what a key is, what it expects, its default, its source, and who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, emit, read
from blueprint.cli.list import Plugin, load_plugins
from blueprint.cli.table import table

if TYPE_CHECKING:
    from blueprint.schema.explain import Explanation


def command(
    path: Annotated[str, typer.Argument(help="A key (`model.block.attention.heads`), a kind, or KIND.NAME.")],
    spec: Annotated[str | None, typer.Argument(metavar="[SPEC]", help="A spec whose types and values apply.")] = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Explain a key of a spec, a kind or a component."""
    from blueprint.schema.explain import explain

    load_plugins(plugin)
    root = read(spec, (), allow_plugins).root if spec is not None else None
    found = explain(path, root)
    if json:
        emit([each.to_plain() for each in found])
    else:
        typer.echo("\n\n".join(map(_text, found)))


def _text(found: Explanation) -> str:
    facts = [
        ("what", found.what),
        ("of", found.owner),
        ("expects", found.expects),
        ("default", found.default),
        ("says", found.said or ""),
        ("source", found.source),
        ("file", found.file),
        *(("read by" if index == 0 else "", str(reader)) for index, reader in enumerate(found.readers)),
    ]
    out = [found.path, table([["  " + name, text] for name, text in facts if text])]
    for title, entries in (("members", found.members), ("keys", found.keys)):
        if entries:
            out += [f"  {title}", table([[f"    {entry.name}", entry.about] for entry in entries])]
    return "\n".join(out)
