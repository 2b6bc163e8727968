"""The Python standard library's own source text."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from blueprint.component import register
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint

#: Folders that hold no library: installed packages, compiled code, and tests, some of which are no valid text.
_LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"})


@register("stdlib")
class Stdlib(DataSource):
    """The Python standard library's source as found on this machine, without its tests: real text, nothing to fetch
    (https://docs.python.org/3/library/)."""

    def documents(self) -> Iterator[tuple[str, str]]:
        """Every module as (path inside the library, text), sorted; those that are not UTF-8 are left out.

        Raises ValueError where this Python came without its source.
        """
        for name, path in self._files():
            try:
                yield name, path.read_bytes().decode()
            except UnicodeDecodeError:
                continue

    def fingerprint(self) -> str:
        """The identity of the files; nothing is read."""
        return fingerprint(self._files())

    def _files(self) -> list[tuple[str, Path]]:
        root = Path(sysconfig.get_path("stdlib"))
        found = []
        for path in root.rglob("*.py"):
            inside = path.relative_to(root)
            if _LEFT_OUT.isdisjoint(inside.parts) and path.is_file():
                found.append((inside.as_posix(), path))
        if not found:
            raise ValueError(f"there is no Python source under {root}; use `source: {{type: text, path: …}}` instead")
        return sorted(found)
