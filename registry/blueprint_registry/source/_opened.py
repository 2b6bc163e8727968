"""Files opened for reading, whether they are compressed or not; what is wrong with them is told with their names."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any


def suffix(path: Path) -> str:
    """The ending of a file's name that tells its format, in small letters, that of a compression aside."""
    plain = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return plain.suffix.lower()


def library(name: str, purpose: str, extra: str) -> Any:
    """A module that an extra brings; raises ValueError, naming the extra, where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(f"{purpose} by {package}: pip install 'blueprint-lightning[{extra}]'") from error


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed as they are read: gzip (RFC 1952, 1996) where its name ends in `.gz`, Zstandard
    (RFC 8878, 2021) where it ends in `.zst`. Raises ValueError, with the name, where it cannot be read."""
    opener = _COMPRESSED.get(path.suffix.lower())
    with reading(name):
        file: IO[bytes] = path.open("rb") if opener is None else opener(path)
        with file:
            yield file


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """What the system or a compression finds wrong inside is told as ValueError, with the file's name."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _zstd(path: Path) -> IO[bytes]:
    zstandard = library("zstandard", "files that end in .zst are read", "zstd")
    # A file may be several frames end to end, as `zstd -T0` and `cat` make it.
    return io.BufferedReader(_Frames(zstandard, path.open("rb")), 1 << 16)


class _Frames(io.RawIOBase):
    """A Zstandard file as raw bytes; what is wrong with it is an OSError, as it is with gzip."""

    def __init__(self, zstandard: Any, file: IO[bytes]) -> None:
        self._error, self._file = zstandard.ZstdError, file
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; 0 at the end."""
        try:
            return int(self._reader.readinto(buffer))
        except self._error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


_COMPRESSED: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": lambda path: io.BufferedReader(gzip.GzipFile(path)),
    ".zst": _zstd,
}
