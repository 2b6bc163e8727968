"""Files that are whole or absent: atomic writing, hashing, and locks that keep two writers apart."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_held: set[int] = set()
#: What the system says where a disk is full, a quota is used up, or a file may not be as large.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: How libraries that are not written in Python tell what the system said.
_TOLD = re.compile(r"(?:os error|Errno) (\d+)\b")
#: What `atomic_path` calls a file that is not whole yet.
_HALF = re.compile(r"\.[0-9a-f]{12}\..+")


class Busy(RuntimeError):
    """Another process holds the lock; the message says which one and of what."""


class Full(OSError):
    """There is no room for a file; the message says for which, what the system says, how much is free there, and how
    much it takes where `takes` tells (bytes)."""

    def __init__(self, number: int, path: str | os.PathLike[str], takes: int | None = None) -> None:
        super().__init__(number, os.strerror(number), os.fspath(path))
        there = next(each for each in (Path(path).absolute(), *Path(path).absolute().parents) if each.exists())
        self.free, self.takes = shutil.disk_usage(there).free, takes

    def __str__(self) -> str:
        takes = "" if self.takes is None else f"it takes about {_size(self.takes)}, and "
        return f"there is no room for {self.filename}: {self.strerror} ({takes}{_size(self.free)} are free there)"


@contextlib.contextmanager
def room_for(path: str | os.PathLike[str], takes: int | None = None) -> Iterator[None]:
    """Name the file `path` where the body cannot write it: raises `Full` for a full disk, however a library told."""
    try:
        yield
    except Full as error:
        error.takes = error.takes or takes
        raise
    except Exception as error:
        told = _TOLD.search(str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number in _NO_ROOM:
            raise Full(number, path, takes) from error
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)
        raise


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, atomically.

    A reader, or a crash at any moment, finds the old file or the new one, never half of one.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside `path`, with its suffix, for a writer that wants one; it becomes `path` if the body succeeds.

    Raises FileNotFoundError where the body wrote nothing, and `Full` where there is no room.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    with room_for(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new folder beside `path` that becomes `path` if the body succeeds, and is removed if it does not.

    Raises `Full` where there is no room.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    try:
        with room_for(target):
            temporary.mkdir(parents=True)
            try:
                yield temporary
                os.replace(temporary, target)
                sync_folder(target.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except Full as error:
        # The name that was asked for, of the file, too.
        place = str(error.filename).replace(temporary.name, target.name)
        raise Full(error.errno or 0, place, error.takes) from error


def sweep(folder: str | os.PathLike[str], name: str = "*") -> None:
    """Remove what writers of files named `name` (a pattern) left who were killed; call it as the only writer."""
    for path in Path(folder).glob(f".*.{name}"):
        if _HALF.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


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
            holder = os.pread(handle, 200, 0).decode("ascii", "replace").strip()
            by = f"process {holder}" if holder else "another process"
            raise Busy(f"{what or path} is in use by {by}; wait until it ends, or stop it") from None
        # That it is held is the kernel's to say; who holds it is told where there is room.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}{_whence()}\n".encode("ascii", "replace"), 0)
        _held.add(handle)
        yield
    finally:
        if os.getpid() == owner:
            _held.discard(handle)
            os.close(handle)


def _whence() -> str:
    return f" on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


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
