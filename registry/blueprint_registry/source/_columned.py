"""Files with a word a line, columns beside it, and a blank line between sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from blueprint_registry.source._formats import Column, Malformed, Row, text
from blueprint_registry.source._opened import opened

#: A line of the conference's first files that only parts documents.
_PARTING = "-DOCSTART-"


def sentences(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    """(its first line, from 1, a tuple of the words' fields for each of `columns`, or what is wrong) of every sentence.

    Fields are parted by tabs where the first word's line has one, else by spaces; then lines that begin with `#`
    and have no tab are comments. Raises ValueError, naming the file, for a column that goes by a name.
    """
    for column in columns:
        if isinstance(column, str):
            raise ValueError(f"{name} names no column {column!r}: where a line is a word, columns go by number from 0")
    places = [int(column) for column in columns]
    begun, rows, wrong = 0, list[list[str]](), None
    width, tabs = 0, _tabbed(path, name)
    with opened(path, name) as file:
        for line, data in enumerate(file, 1):
            said = data.decode("utf-8-sig" if line == 1 else "utf-8", "surrogateescape").strip("\r\n")
            if not said.strip():
                if rows:
                    yield begun, wrong or _turned(rows, places)
                rows, wrong = [], None
                continue
            if tabs and said.startswith("#") and "\t" not in said:
                continue
            row = said.split("\t") if tabs else [field for field in said.split(" ") if field]
            if row[0] == _PARTING:
                continue
            width, begun = width or len(row), begun if rows else line
            rows.append(row)
            if len(row) != width:
                wrong = wrong or Malformed(f"line {line} has {len(row)} columns, where the first word has {width}")
            elif max(places) >= width:
                raise ValueError(f"{name}:{line} has {width} columns, and none is number {max(places)} (from 0)")
        if rows:
            yield begun, wrong or _turned(rows, places)


def _turned(rows: list[list[str]], places: list[int]) -> Row:
    try:
        return tuple(tuple(text(row[place]) for row in rows) for place in places)
    except Malformed as error:
        return Malformed(f"a column of it {error}")


def _tabbed(path: Path, name: str) -> bool:
    """Whether the first word of a file has tabs beside it."""
    with opened(path, name) as file:
        first = next((line for line in file if line.strip() and not line.startswith((b"#", _PARTING.encode()))), b"")
        return b"\t" in first
