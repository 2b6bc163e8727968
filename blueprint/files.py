"""Files that are whole or absent: atomic writing, hashing, and locks that keep two writers apart."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_held: set[int] = set()


class Busy(RuntimeError):
    """Another process holds the lock; the message says which one and of what."""


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, atomically.

    A reader, or a crash at any moment, finds the old file or the new one, never half of one.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside `path`, with its suffix, for a writer that wants one; it becomes `path` if the body succeeds.

    Raises FileNotFoundError where the body wrote nothing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable: a rename survives a power cut only once its folder is synced."""
    _sync(Path(path), os.O_RDONLY | os.O_DIRECTORY)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content, in hex, read in bounded memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], *, what: str | None = None, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` for the body; raise `Busy` if another process holds it, or wait for that to end.

    The kernel frees the lock when its holder dies, however it dies; the holder's forks have no part in it. The file
    stays: removing it would let a third process lock a new file of the same name while a second still waits for the
    old one. `what` names the guarded thing in the message (default: the lock file).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    owner, handle = os.getpid(), os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            by = f"process {holder}" if holder else "another process"
            raise Busy(f"{what or path} is in use by {by}; wait until it ends, or stop it") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        _held.add(handle)
        yield
    finally:
        if os.getpid() == owner:
            _held.discard(handle)
            os.close(handle)


def _forget() -> None:
    # A forked child, a data worker say, shares the open file, and would keep the lock of a parent that was killed.
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget)


def _sync(path: Path, flags: int = os.O_RDONLY) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
