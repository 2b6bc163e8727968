"""Text files."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import Field

from blueprint.component import FilePath, register
from blueprint_registry.source._files import found
from blueprint_registry.source._formats import Malformed
from blueprint_registry.source._opened import opened
from blueprint_registry.source._rows import Tolerant

#: Bytes of a file that are one document at most.
_LARGE = 1 << 22


@register("text", version=2)
class Text(Tolerant):
    """UTF-8 text files (RFC 3629, 2003): named files, folders with all in them, or globs; those whose names end in
    `.gz` or `.zst` are decompressed."""

    path: FilePath | list[FilePath]
    """A file, a folder (read recursively, without hidden and binary files) or a glob (`books/**/*.txt`), or a list of
    them; relative to the file of the spec that says it, in an override to the working directory; `~` is the home
    folder."""

    document: Literal["file", "line", "paragraph"] = "file"
    """What a document is: a whole file, or of one above 4 MB pieces of that size, cut after a line; a line; the lines
    between blank ones. No more than a document is held in memory."""

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed documents (no UTF-8) that are passed over with a warning; with more, the data is refused."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Everything below a folder; a line each."""
        return [{"path": "books/**/*.txt"}, {"path": "news.txt.gz", "document": "line"}]

    def found(self) -> Iterator[tuple[str, Any]]:
        """Every document as (path, or path:line, text or what is wrong), sorted by path, each file once, read as it is
        asked for."""
        for name, path, named in found(self.path):
            for line, data in self._pieces(name, path):
                # Beside the texts of a folder lie pictures and archives: like grep, take a zero byte for the sign.
                if not named and b"\0" in data:
                    break
                where = name if self.document == "file" and line == 1 else f"{name}:{line}"
                try:
                    yield where, data.decode("utf-8-sig")
                except UnicodeDecodeError as error:
                    at = line + data.count(b"\n", 0, error.start)
                    yield (
                        where,
                        Malformed(
                            f"it is not UTF-8 text: line {at} holds the byte 0x{data[error.start]:02x}; "
                            f"convert it (iconv -f latin1 -t utf-8) or name the other files alone"
                        ),
                    )

    def _pieces(self, name: str, path: Path) -> Iterator[tuple[int, bytes]]:
        """(its first line, bytes) of every document of a file."""
        with opened(path, name) as file:
            if self.document == "file":
                yield from _large(file)
                return
            begun, lines = 0, list[bytes]()
            for number, line in enumerate(file, 1):
                if line.strip():
                    begun = begun or number
                    lines.append(line)
                if lines and (self.document == "line" or not line.strip()):
                    yield begun, b"".join(lines).rstrip(b"\r\n")
                    begun, lines = 0, []
            if lines:
                yield begun, b"".join(lines).rstrip(b"\r\n")


def _large(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(its first line, bytes) of a whole file, or of pieces of a large one."""
    line, data = 1, file.read(_LARGE)
    while more := file.read(_LARGE):
        end = data.rfind(b"\n") + 1 or _character(data)
        yield line, data[:end]
        line += data.count(b"\n", 0, end)
        data = data[end:] + more
    yield line, data


def _character(data: bytes) -> int:
    """Where the last whole character of UTF-8 ends."""
    lead = next((at for at in range(len(data) - 1, len(data) - 5, -1) if data[at] & 0xC0 != 0x80), len(data))
    return lead if data[lead : lead + 1] >= b"\xc0" else len(data)
