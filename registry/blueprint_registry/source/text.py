"""Text files."""

import glob
import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from blueprint.component import Faults, FilePath, register, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint


@register("text")
class Text(DataSource):
    """UTF-8 text files (RFC 3629, 2003), one document each: named files, folders with all in them, or globs."""

    path: FilePath | list[FilePath]
    """A file, a folder (read recursively, without hidden and binary files) or a glob (`books/**/*.txt`), or a list of
    them; relative to the file of the spec that says it (in an override to the working directory), `~` is the home folder."""

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
        for name, path, named in self._files():
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
        return fingerprint((name, path) for name, path, _ in self._files())

    def _files(self) -> list[tuple[str, Path, bool]]:
        """(name, path, whether the file itself was named) of every file, sorted by name, each file once."""
        found: dict[Path, tuple[str, Path, bool]] = {}
        for said in [self.path] if isinstance(self.path, str) else self.path:
            for path, named in _expand(said):
                known = found.get(path.resolve())
                found[path.resolve()] = (path.as_posix(), path, named or bool(known and known[2]))
        return sorted(found.values())


def _expand(said: str) -> list[tuple[Path, bool]]:
    """The files one path names, each with whether it was named itself; raises ValueError where there are none."""
    path = Path(said).expanduser()
    if path.is_dir():
        inside = [Path(folder) / file for folder, file in _walk(path)]
        if not inside:
            raise ValueError(f"the folder {said} holds no file (hidden ones do not count)")
        return [(file, False) for file in inside]
    if path.exists():
        return [(path, True)]
    if glob.has_magic(said):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
        files = [match for match in matches if match.is_file()]
        if not files:
            raise ValueError(f"no file matches {said} (looked from {Path.cwd()})")
        return [(file, True) for file in files]
    raise ValueError(f"{said} does not exist (looked from {Path.cwd()}){_meant(path)}")


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # Neither links to nowhere nor pipes, which would wait for a writer.
        yield from ((folder, name) for name in files if not name.startswith(".") and Path(folder, name).is_file())


def _meant(path: Path) -> str:
    """A guess at what was meant: the nearest name beside the first part of the path that does not exist."""
    missing = next(p for p in [*reversed(path.parents), path] if not p.exists())
    try:
        beside = sorted(os.listdir(missing.parent))
    except OSError:
        return ""
    near = get_close_matches(missing.name, beside, n=1)
    return f"; did you mean {missing.parent / near[0]}?" if near else ""
