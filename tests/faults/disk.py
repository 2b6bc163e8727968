"""A disk with hardly any room: a small file system in memory, or where none may be mounted, a limit on files' sizes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Disk:
    """A folder in which so much fits; `more` is what a command has to be started with for that."""

    folder: Path
    mounted: bool
    _limit: int | None = None

    @property
    def more(self) -> dict[str, Any]:
        """What has to be said of a command there."""
        return {} if self._limit is None else {"limit": self._limit}

    @contextlib.contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Leave so many bytes free; or, as the next best thing, no file may become larger."""
        if not self.mounted:
            self._limit = size
            yield
            self._limit = None
            return
        filler = self.folder / "filler"
        there = os.statvfs(self.folder)
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(there.f_bavail * there.f_frsize - size, 1))
        yield
        filler.unlink()


@contextlib.contextmanager
def small(folder: Path, size: int = 64 << 20, *, mount: bool = True) -> Iterator[Disk]:
    """A small disk at a folder; a warning tells where it could not be mounted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    mounted = False
    if mount:
        with contextlib.suppress(OSError):
            mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        if not mounted:
            warnings.warn("no file system may be mounted here: files are limited in size instead", stacklevel=3)
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
