"""`blueprint`: imports the command that is asked for and no other; ends with 0, 1 (your spec) or 2 (our fault)."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any

import typer

from blueprint import __version__

#: The commands in the order of a model's life; each is the function of that name in the module of that name.
COMMANDS = (
    "new",
    "check",
    "plan",
    "cost",
    "build",
    "train",
    "resume",
    "verify-resume",
    "evaluate",
    "generate",
    "import",
    "export",
    "diff",
    "list",
    "explain",
    "schema",
)

#: What the user can mend. None that has not been imported can have been raised, so none is imported for this.
MISTAKES = (
    ("blueprint.diagnosis", "SpecError"),
    ("blueprint.registry", "UnknownComponent"),
    ("blueprint.registry", "PluginError"),
    ("blueprint.schema.explain", "UnknownPath"),
    ("blueprint.choice", "BackendError"),
    ("blueprint.files", "Busy"),
    ("blueprint.files", "Full"),
    ("blueprint.training.error", "TrainError"),
    ("blueprint.training.data.error", "DataError"),
    ("blueprint.interop.error", "CheckpointError"),
    ("blueprint.cli.common", "Mistake"),
)

APOLOGY = "Sorry, this is a fault of Blueprint, not of yours."


def main() -> None:
    """The entry point of the command `blueprint`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    warnings.showwarning = _show_warning
    try:
        typer.main.get_command(application(words))(args=words, prog_name="blueprint")
    except SystemExit as end:
        # The parser ends with 2 for what was typed wrongly: that is the user's to mend.
        return {None: 0, 2: 1}.get(end.code, end.code)  # type: ignore[arg-type, return-value]
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explained(error, debug)
    return 0


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
    completing = "_BLUEPRINT_COMPLETE" in os.environ
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


def _explained(error: Exception, debug: bool) -> int:
    """Say what happened; returns the exit code."""
    loaded = [getattr(sys.modules[module], name) for module, name in MISTAKES if module in sys.modules]
    if isinstance(error, tuple(loaded)):
        print(error, file=sys.stderr)
        return 1
    if isinstance(error, OSError) and error.filename is not None:
        print(f"{error.filename}: {error.strerror or error}", file=sys.stderr)
        return 1
    more = "" if debug else " Run it again with --debug for the traceback, and please report it."
    print(f"{APOLOGY} {type(error).__name__}: {error}.{more}", file=sys.stderr)
    return 2


def _show_warning(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
    # What libraries tell their developers is nothing a user could act on.
    if not issubclass(category, DeprecationWarning | FutureWarning):
        print(f"warning: {message}", file=sys.stderr)
