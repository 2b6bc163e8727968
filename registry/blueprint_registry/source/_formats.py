"""Rows out of files, by what a file's name ends in."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from blueprint_registry.source._files import saved
from blueprint_registry.source._opened import library, opened, reading, suffix

Column = int | str

#: Rows that are held at once of a file that stores them by columns.
_BATCH = 1024


class Malformed(ValueError):
    """A row that cannot be used, and why."""


Row = tuple[Any, ...] | Malformed
#: What a field's value is taken as; raises `Malformed`, to follow the column's name, where it cannot be.
Cell = Callable[[Any], Any]


def rows(
    path: Path, name: str, columns: Sequence[Column], cells: Sequence[Cell] | None = None
) -> Iterator[tuple[int, Row]]:
    """(line or number of the row, from 1, its fields in the order of `columns`, or what is wrong) of every row.

    Columns are counted from 0, or named; each is taken as its one of `cells` says, by default a `text`. Raises
    ValueError, naming the file, where it cannot be read or lacks a column.
    """
    reader = _saved if saved(path) else FORMATS.get(suffix(path), _tab)
    taken = list(zip(columns, cells or [text] * len(columns), strict=True))
    with reading(name):
        for number, row in reader(path, name, columns):
            yield number, row if isinstance(row, Malformed) else _fields(taken, row)


def text(value: Any) -> str:
    """A text that is not empty; whole numbers are written out, for labels often are numbers."""
    if isinstance(value, int):
        value = str(value)
    if value is None or value == "":
        raise Malformed("is empty")
    if not isinstance(value, str):
        raise Malformed(f"holds no text ({type(value).__name__})")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed(_NO_UTF8) from None
    return value


_NO_UTF8 = "is not UTF-8"


def _tab(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    with _lines(path, name) as file:
        split = ((line, text.rstrip("\r\n")) for line, text in enumerate(file, 1))
        yield from _chosen(((line, said.split("\t")) for line, said in split if said), name, columns)


def _comma(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    with _lines(path, name) as file:
        yield from _chosen(_quoted(file), name, columns)


def _quoted(file: TextIO) -> Iterator[tuple[int, list[str] | Malformed]]:
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


def _chosen(
    found: Iterator[tuple[int, list[str] | Malformed]], name: str, columns: Sequence[Column]
) -> Iterator[tuple[int, Row]]:
    """The columns of rows of one width; the first row names them where one goes by its name."""
    first = next(found, None)
    if first is None:
        return
    line, head = first
    if isinstance(head, Malformed):
        raise ValueError(f"{name}:{line}: {head}")
    at = [_place(column, head, f"{name}:{line}") for column in columns]
    named = any(isinstance(column, str) for column in columns)
    for line, row in found if named else itertools.chain([first], found):
        if not isinstance(row, Malformed) and len(row) != len(head):
            row = Malformed(f"{len(row)} columns, where the first row has {len(head)}")
        yield line, row if isinstance(row, Malformed) else tuple(row[each] for each in at)


def _place(column: Column, head: Sequence[str], where: str) -> int:
    """The index of a column; raises ValueError where the first row has no such column."""
    if isinstance(column, int):
        if column < len(head):
            return column
        raise ValueError(f"{where} has {len(head)} columns, and none is number {column} (they count from 0)")
    if column in head:
        return list(head).index(column)
    raise ValueError(f"{where} names no column {column!r}; it names {', '.join(map(repr, head))}")


def _json(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    with _lines(path, name) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, Malformed(f"it is no JSON: {error}")
                continue
            try:
                yield line, tuple(_pick(row, column, f"{name}:{line}") for column in columns)
            except Malformed as error:
                yield line, error


def _pick(row: Any, column: Column, where: str) -> Any:
    """A field of an object by its name, one inside another by `outer.inner`; an item of an array by its number."""
    if isinstance(row, Mapping) and isinstance(column, int):
        names = ", ".join(map(repr, row))
        raise ValueError(f"{where} is a JSON object, whose fields go by names and not by {column}: say one of {names}")
    value = row
    for step in [column] if isinstance(column, int) or _holds(row, column) else column.split("."):
        if not _holds(value, step):
            raise Malformed(f"it has no field {column!r}")
        value = value[step]
    return value


def _holds(value: Any, step: Column) -> bool:
    if isinstance(step, int):
        return isinstance(value, list) and step < len(value)
    return isinstance(value, Mapping) and step in value


def _parquet(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    arrow = library("pyarrow", "Parquet files are read", "parquet")
    parquet = library("pyarrow.parquet", "Parquet files are read", "parquet")
    with reading(name):
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                chosen = [names[_place(column, names, name)] for column in columns]
                batches = file.iter_batches(batch_size=_BATCH, columns=list(dict.fromkeys(chosen)))
                yield from _columns((batch.to_pylist() for batch in batches), chosen)
        except arrow.ArrowException as error:
            raise ValueError(f"{name} cannot be read as Parquet: {error}") from error


def _saved(path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    datasets = library("datasets", f"{name} was saved by `datasets`, and is read", "datasets")
    found = datasets.load_from_disk(str(path))
    names = found.column_names
    chosen = [names[_place(column, names, name)] for column in columns]
    # Classes are stored as numbers, lists of them too; what they are called is told beside them.
    kinds = {each: getattr(found.features[each], "feature", found.features[each]) for each in chosen}
    called = {each: kind.int2str for each, kind in kinds.items() if hasattr(kind, "int2str")}
    tables = found.select_columns(list(dict.fromkeys(chosen))).with_format("arrow").iter(_BATCH)
    yield from _columns((table.to_pylist() for table in tables), chosen, called)


def _columns(
    batches: Iterator[list[dict[str, Any]]],
    chosen: Sequence[str],
    called: Mapping[str, Callable[[int], str]] | None = None,
) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(itertools.chain.from_iterable(batches), 1):
        yield number, tuple(_called(row[each], (called or {}).get(each)) for each in chosen)


def _called(value: Any, name: Callable[[int], str] | None) -> Any:
    """A class, or a list of them, by name; a number below 0 stands for none."""
    if name is None:
        return value
    if isinstance(value, list):
        return [_called(each, name) for each in value]
    return name(value) if isinstance(value, int) and value >= 0 else value


def _fields(taken: Sequence[tuple[Column, Cell]], values: Sequence[Any]) -> Row:
    """A row's columns, each as its cell takes it."""
    found = []
    for (column, cell), value in zip(taken, values, strict=True):
        try:
            found.append(cell(value))
        except Malformed as error:
            return Malformed(f"it {error}" if str(error) == _NO_UTF8 else f"column {column} {error}")
    return tuple(found)


class _lines:
    """A file's lines as text; bytes that are no UTF-8 stay, as halves of surrogate pairs."""

    def __init__(self, path: Path, name: str) -> None:
        self._bytes = opened(path, name)

    def __enter__(self) -> TextIO:
        return io.TextIOWrapper(self._bytes.__enter__(), encoding="utf-8-sig", errors="surrogateescape", newline="")

    def __exit__(self, *error: Any) -> None:
        self._bytes.__exit__(*error)


FORMATS: dict[str, Callable[[Path, str, Sequence[Column]], Iterator[tuple[int, Row]]]] = {
    ".csv": _comma,
    ".jsonl": _json,
    ".ndjson": _json,
    ".parquet": _parquet,
}
