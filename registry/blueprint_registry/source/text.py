"""Text files."""

from collections.abc import Iterator
from typing import Any

from blueprint.component import Faults, FilePath, register, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint, found


@register("text")
class Text(DataSource):
    """UTF-8 text files (RFC 3629, 2003), one document each: named files, folders with all in them, or globs."""

    path: FilePath | list[FilePath]
    """A file, a folder (read recursively, without hidden and binary files) or a glob (`books/**/*.txt`), or a list of
    them; relative to the file of the spec that says it, in an override to the working directory; `~` is the home
    folder."""

    @rule("path")
    def _some(path: str | list[str]) -> Faults:
        if not path or not all(path):
            return "name at least one file, folder or glob; an empty path names none"
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Everything below a folder."""
        return [{"path": "books/**/*.txt"}]

    def documents(self) -> Iterator[tuple[str, str]]:
        """Every file as (path, text), sorted by path, each once, read as it is asked for.

        Raises ValueError, naming the path, where it does not exist, holds no file, cannot be read or is not UTF-8.
        """
        for name, path, named in found(self.path):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ValueError(f"{name} cannot be read: {error.strerror}") from error
            # Beside the texts of a folder lie pictures and archives: like grep, take a zero byte for the sign of one.
            if not named and b"\0" in data:
                continue
            try:
                yield name, data.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                raise ValueError(
                    f"{name} is not UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}; "
                    f"convert it (iconv -f latin1 -t utf-8) or name the other files alone"
                ) from error

    def fingerprint(self) -> str:
        """The identity of the files; nothing is read."""
        return fingerprint((name, path) for name, path, _ in found(self.path))
