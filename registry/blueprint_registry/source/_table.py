"""Rows of text files: tab-separated lines, or CSV, and what becomes of malformed ones."""

import csv
import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, TextIO

from pydantic import Field, NonNegativeInt

from blueprint.component import Faults, FilePath, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint, found

Column = NonNegativeInt | str

#: How many malformed rows a message names.
_SHOWN = 5


class Malformed(ValueError):
    """A row that cannot be used, and why."""


class Table(DataSource):
    """Rows of two columns out of UTF-8 files: CSV where a file's name ends so (RFC 4180, 2005), else lines with tabs
    between their fields, as they are."""

    beside: ClassVar[dict[str, Any]] = {"objective": None}

    path: FilePath | list[FilePath]
    """A file, a folder (read recursively, without hidden files) or a glob (`pairs/*.tsv`), or a list of them; relative
    to the file of the spec that says it, in an override to the working directory; `~` is the home folder."""

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed rows (of another width than the first, with an empty field, no UTF-8) that are passed over
    with a warning; with more, the data is refused."""

    #: The fields that name the columns, in the order in which a row gives them.
    columns: ClassVar[tuple[str, str]]

    @rule("path")
    def _some(path: str | list[str]) -> Faults:
        if not path or not all(path):
            return "name at least one file, folder or glob; an empty path names none"
        return None

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every row as (file:line, its two fields), file by file; raises ValueError for a file that cannot be read,
        lacks a column, or where too many rows are malformed: those are named."""
        wrong: list[str] = []
        good = 0
        for name, path, _ in found(self.path):
            for line, row in _rows(path, name, [getattr(self, column) for column in self.columns]):
                try:
                    if isinstance(row, Malformed):
                        raise row
                    yield f"{name}:{line}", self.checked(*row)
                    good += 1
                except Malformed as error:
                    wrong.append(f"{name}:{line}: {error}")
        self._judge(wrong, good)

    def checked(self, first: str, second: str) -> tuple[str, str]:
        """The two fields of a row; raises `Malformed` where they cannot be used."""
        return first, second

    def fingerprint(self) -> str:
        """The identity of the files and of how they are read; nothing is read."""
        files = ((name, path) for name, path, _ in found(self.path))
        return fingerprint(files, json.dumps(self.to_plain()))

    def _judge(self, wrong: list[str], good: int) -> None:
        if not wrong:
            return
        total = len(wrong) + good
        shown = "".join(f"\n  {each}" for each in wrong[:_SHOWN]) + ("\n  …" if len(wrong) > _SHOWN else "")
        count = f"{len(wrong)} of {total} rows {'is' if len(wrong) == 1 else 'are'} malformed"
        if len(wrong) > self.bad_rows * total:
            allowed = "none is" if self.bad_rows == 0 else f"a share of {self.bad_rows:g} is"
            raise ValueError(f"{count}, where {allowed} allowed by `bad_rows`:{shown}")
        warnings.warn(f"source `{self.spec_name}`: {count} and left out:{shown}", stacklevel=2)


def _rows(path: Path, name: str, columns: list[Column]) -> Iterator[tuple[int, tuple[str, str] | Malformed]]:
    """(line, the fields of two columns, or what is wrong) of every row; columns are counted from 0, or named by the
    first row."""
    with _opened(path, name) as file:
        rows = _comma(file) if path.suffix.lower() == ".csv" else _tab(file)
        first = next(rows, None)
        if first is None:
            return
        line, head = first
        if isinstance(head, Malformed):
            raise ValueError(f"{name}:{line}: {head}")
        at = [_place(column, head, f"{name}:{line}") for column in columns]
        named = any(isinstance(column, str) for column in columns)
        for line, row in rows if named else itertools.chain([first], rows):
            yield line, row if isinstance(row, Malformed) else _fields(row, at, len(head))


def _opened(path: Path, name: str) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from error


def _fields(row: list[str], at: list[int], width: int) -> tuple[str, str] | Malformed:
    if len(row) != width:
        return Malformed(f"{len(row)} columns, where the first row has {width}")
    first, second = (row[each] for each in at)
    if not first or not second:
        return Malformed(f"column {at[0] if not first else at[1]} is empty")
    try:
        (first + second).encode()
    except UnicodeEncodeError:
        return Malformed("it is not UTF-8")
    return first, second


def _tab(file: TextIO) -> Iterator[tuple[int, list[str] | Malformed]]:
    for line, text in enumerate(file, 1):
        said = text.rstrip("\r\n")
        if said:
            yield line, said.split("\t")


def _comma(file: TextIO) -> Iterator[tuple[int, list[str] | Malformed]]:
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Malformed(str(error))
            continue
        if row:
            yield line, row


def _place(column: Column, head: list[str], where: str) -> int:
    """The index of a column; raises ValueError where the first row has no such column."""
    if isinstance(column, int):
        if column < len(head):
            return column
        raise ValueError(f"{where} has {len(head)} columns, and none is number {column} (they count from 0)")
    if column in head:
        return head.index(column)
    raise ValueError(f"{where} names no column {column!r}; it names {', '.join(map(repr, head))}")
