"""Where what was prepared is kept, and what is said where that cannot be written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueprint import files
from blueprint.training.data.error import DataError

#: Files of up to so many bytes are read through before they are used, which takes a fraction of a second.
_READ = 1 << 28


def cache_folder() -> Path:
    """`$BLUEPRINT_CACHE`, or else `~/.cache/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_CACHE") or Path.home() / ".cache" / "blueprint")


@contextlib.contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Tell what the system finds wrong with a cache as `DataError`; a source's own trouble passes."""
    try:
        with files.room_for(cache):
            yield
    except files.Full as problem:
        raise DataError(
            f"{problem}: nothing of what was there is lost\n"
            "  = fix: make room there, or set BLUEPRINT_CACHE to a folder where there is some; then do the same again"
        ) from problem
    except OSError as problem:
        if problem.filename is not None and not str(problem.filename).startswith(str(cache)):
            raise
        raise DataError(f"cannot write to {cache} ({problem}); set BLUEPRINT_CACHE to another folder") from problem


def summed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with a checksum among them."""
    plain = {name: value for name, value in values.items() if name != "sum"}
    said = json.dumps(plain, sort_keys=True).encode()
    return plain | {"sum": hashlib.blake2b(said, digest_size=16).hexdigest()}


def unsummed(values: Any) -> dict[str, Any]:
    """The values without their checksum, if they had one; raises ValueError where they are not what was written."""
    if not isinstance(values, dict) or values.get("sum", "") not in ("", summed(values)["sum"]):
        raise ValueError("it does not match its checksum")
    return {name: value for name, value in values.items() if name != "sum"}


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, which `intact` compares; None for one too large to be read through for that."""
    return None if path.stat().st_size > _READ else files.sha256_file(path)


def intact(path: Path, digest: str | None) -> bool:
    """Whether a file is as it was when `digest` was noted; taken for granted where none was."""
    return digest is None or digest_of(path) == digest


def passing_over(path: Path, why: object) -> None:
    """Tell that what lies in the cache is damaged, and will be made anew."""
    warnings.warn(f"{path} is made anew: {why}", stacklevel=3)
