"""`blueprint`: imports the command that is asked for and no other; ends with 0, 1 (your spec) or 2 (our fault)."""

from __future__ import annotations

import gc
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from blueprint.cli.checked import plainly

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
    ("blueprint.cli.specs", "Mistake"),
)

#: Set by a shell that asks how a word may end.
COMPLETING = "_BLUEPRINT_COMPLETE"
APOLOGY = "Sorry, this is a fault of Blueprint, not of yours."


def main() -> None:
    """The entry point of the command `blueprint`."""
    checks = sys.argv[1:2] == ["check"]
    if checks:
        # Looking for garbage among hundreds of new classes finds none, and takes a fifth of the time.
        gc.disable()
    code = run(sys.argv[1:])
    if checks:
        # Nor is there anything to look for at the end.
        gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    warnings.showwarning = _show_warning
    try:
        good = None if COMPLETING in os.environ else plainly(words)
        if good is not None:
            return 0 if good else 1
        # Only now: to parse words in earnest takes as long as to check a spec.
        from blueprint.cli.application import parsed

        parsed(words)
    except SystemExit as end:
        # The parser ends with 2 for what was typed wrongly: that is the user's to mend.
        return {None: 0, 2: 1}.get(end.code, end.code)  # type: ignore[arg-type, return-value]
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever asked has stopped listening.
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explained(error, debug)
    return 0


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
