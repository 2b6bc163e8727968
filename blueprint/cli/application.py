"""The commands as one application: what parses a command line, explains itself and completes words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Annotated

import typer

from blueprint import __version__
from blueprint.cli.main import COMMANDS, COMPLETING


def parsed(words: Sequence[str]) -> None:
    """Parse a command line and run its command; raises SystemExit for what was typed wrongly."""
    typer.main.get_command(application(words))(args=list(words), prog_name="blueprint")


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The commands as a typer application: the one spoken of where there is one, else all."""
    app = typer.Typer(
        name="blueprint",
        help="Blueprint: the spec is the model.",
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    spoken = next((word for word in arguments if not word.startswith("-")), None)
    completing = COMPLETING in os.environ
    for name in (spoken,) if spoken in COMMANDS and not completing else COMMANDS:
        word = name.replace("-", "_")
        module = import_module(f"blueprint.cli.{word}_" if iskeyword(word) else f"blueprint.cli.{word}")
        app.command(name)(module.command)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback where something fails.")] = False,
) -> None:
    """Options that stand before a command; `--debug` may stand anywhere."""
