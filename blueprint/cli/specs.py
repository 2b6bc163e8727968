"""What commands do with specs and what they print, without the parser of their options."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blueprint.schema.spec import Spec


class Mistake(Exception):
    """Something the user can mend, in plain words."""


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments as (specs, overrides): a word with `=` that names no file is an override."""
    overrides = [word for word in arguments if "=" in word and not os.path.exists(word)]
    return [word for word in arguments if word not in overrides], overrides


def read(path: str, overrides: Sequence[str] | None = None, allow_plugins: bool = False) -> Spec:
    """The spec of a file, or of the folder of a run or a build; raises `SpecError`."""
    from blueprint.load import load

    return load(spec_file(path), overrides=list(overrides or ()), allow_plugins=allow_plugins)


def spec_file(path: str) -> str:
    """The file a user means by a path: a folder of a run or a build holds its spec."""
    inside = Path(path) / "spec.yaml"
    if Path(path).is_dir() and not inside.exists():
        raise Mistake(f"{path} is a folder without a spec.yaml: name a spec, or the folder of a run or a build")
    return str(inside) if inside.exists() else path


def emit(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)
