"""What the sources that read files share."""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path


def fingerprint(files: Iterable[tuple[str, Path]], settings: str = "") -> str:
    """The identity of named files without reading them: a hash of every name, path, size and time of change, and of
    the `settings` they are read with."""
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for name, path in files:
        for each in sorted(path.iterdir()) if path.is_dir() else [path]:
            stat = each.stat()
            said = f"{name}\0{each}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            digest.update(said.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def saved(path: Path) -> bool:
    """Whether a folder is one that `datasets` saved, which counts as one file."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def found(paths: str | list[str]) -> list[tuple[str, Path, bool]]:
    """(name, path, whether the file itself was named) of every file that paths name, sorted by name, each file once.

    Raises ValueError, naming the path, where it does not exist or holds no file.
    """
    files: dict[Path, tuple[str, Path, bool]] = {}
    for said in [paths] if isinstance(paths, str) else paths:
        for path, named in _expand(said):
            known = files.get(path.resolve())
            files[path.resolve()] = (path.as_posix(), path, named or bool(known and known[2]))
    return sorted(files.values())


def _expand(said: str) -> list[tuple[Path, bool]]:
    """The files one path names, each with whether it was named itself; raises ValueError where there are none."""
    path = Path(said).expanduser()
    if saved(path):
        return [(path, True)]
    if (path / "dataset_dict.json").is_file():
        parts = sorted(each.name for each in path.iterdir() if saved(each))
        raise ValueError(f"{said} holds several sets, {', '.join(parts)}: name one of them, as {path / parts[0]}")
    if path.is_dir():
        inside = [Path(folder) / file for folder, file in _walk(path)]
        if not inside:
            raise ValueError(f"the folder {said} holds no file (hidden ones do not count)")
        return [(file, False) for file in inside]
    if path.exists():
        return [(path, True)]
    if glob.has_magic(said):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
        files = [match for match in matches if match.is_file() or saved(match)]
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
