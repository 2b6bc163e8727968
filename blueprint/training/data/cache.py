"""Where what was prepared is kept, and what is said where that cannot be written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from blueprint.training.data.error import DataError


def cache_folder() -> Path:
    """`$BLUEPRINT_CACHE`, or else `~/.cache/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_CACHE") or Path.home() / ".cache" / "blueprint")


@contextlib.contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Tell what the system finds wrong with a cache as `DataError`; a source's own trouble passes."""
    try:
        yield
    except OSError as problem:
        if problem.filename is not None and not str(problem.filename).startswith(str(cache)):
            raise
        raise DataError(f"cannot write to {cache} ({problem}); set BLUEPRINT_CACHE to another folder") from problem
