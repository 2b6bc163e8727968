"""How far files that are written front to back have got, so that who is killed goes on from there."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from blueprint import files


class Journal:
    """A small file that says how far others are whole; written anew every few seconds, after they were synced.

    What lies in them past that may be anything: whoever goes on cuts it off.
    """

    #: Seconds of work that may be lost.
    EVERY = 5.0

    def __init__(self, path: Path) -> None:
        self.path, self._last = path, time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing that can be read."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.path.read_bytes())
            return found if isinstance(found, dict) else None
        return None

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self.EVERY

    def write(self, said: dict[str, Any], written: Iterable[BinaryIO]) -> None:
        """Sync files, then say what they hold."""
        for file in written:
            file.flush()
            os.fsync(file.fileno())
        files.write_atomic(self.path, json.dumps(said))
        self._last = time.monotonic()

    def remove(self) -> None:
        """Leave nothing of it, nor of one that was being written when its writer was killed."""
        for path in (self.path, *self.path.parent.glob(f".*.{self.path.name}")):
            path.unlink(missing_ok=True)


def opened(path: Path, size: int) -> BinaryIO:
    """A file to be gone on with after its first `size` bytes, the rest cut off; raises OSError where it has fewer."""
    file = open(path, "r+b" if size or path.exists() else "x+b")  # noqa: SIM115 — the caller closes it
    if file.seek(0, os.SEEK_END) < size:
        file.close()
        raise OSError(f"{path} has fewer than {size:,} bytes")
    file.truncate(size)
    file.seek(size)
    return file
