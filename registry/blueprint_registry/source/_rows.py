"""What sources of rows share: where the files are, and what becomes of malformed rows."""

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt

from blueprint.component import Faults, FilePath, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint, found
from blueprint_registry.source._formats import Cell, Malformed, Row, rows, text

Column = NonNegativeInt | str

#: How many malformed rows a message names.
_SHOWN = 5


class Tolerant(DataSource):
    """A source that passes over a share of malformed documents."""

    path: FilePath | list[FilePath]
    """A file, a folder (read recursively, without hidden files) or a glob (`pairs/*.tsv`), or a list of them; relative
    to the file of the spec that says it, in an override to the working directory; `~` is the home folder."""

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed documents that are passed over with a warning; with more, the data is refused."""

    @rule("path")
    def _some(path: str | list[str]) -> Faults:
        if not path or not all(path):
            return "name at least one file, folder or glob; an empty path names none"
        return None

    def fingerprint(self) -> str | None:
        """The identity of the files and of how they are read; nothing is read."""
        files = ((name, path) for name, path, _ in found(self.path))
        return fingerprint(files, json.dumps([self.version, self.to_plain()]))

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every good document, file by file; raises ValueError for a file that cannot be read, or where too many
        documents are malformed: some are named."""
        wrong: list[str] = []
        good = bad = 0
        for where, content in self.found():
            if not isinstance(content, Malformed):
                good += 1
                yield where, content
                continue
            bad += 1
            if bad <= _SHOWN:
                wrong.append(f"\n  {where}: {content}")
        if bad:
            self._judge("".join(wrong) + ("\n  …" if bad > _SHOWN else ""), bad, bad + good)

    def found(self) -> Iterator[tuple[str, Any]]:
        """(where it is, content or `Malformed`) of every document."""
        raise TypeError(f"source `{self.spec_name}` finds no documents")

    def _judge(self, shown: str, bad: int, total: int) -> None:
        count = f"{bad:,} of {total:,} rows {'is' if bad == 1 else 'are'} malformed"
        if bad > self.bad_rows * total:
            allowed = "none is" if self.bad_rows == 0 else f"a share of {self.bad_rows:g} is"
            raise ValueError(f"{count}, where {allowed} allowed by `bad_rows`:{shown}")
        warnings.warn(f"source `{self.spec_name}`: {count} and left out:{shown}", stacklevel=3)


class Rows(Tolerant):
    """Rows of files in UTF-8: CSV where a file's name ends so (RFC 4180, 2005), an object of JSON a line (`.jsonl`,
    `.ndjson`), Parquet (`.parquet`), a folder that `datasets` saved, else lines with tabs between their fields, as they
    are. All but the last two may be compressed (`.gz`, `.zst`)."""

    beside: ClassVar[dict[str, Any]] = {"objective": None}

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed rows (of another width than the first, without a field, with an empty one, no JSON, no UTF-8)
    that are passed over with a warning; with more, the data is refused."""

    #: The fields that name the columns, in the order in which a row gives them.
    columns: ClassVar[tuple[str, ...]]

    def found(self) -> Iterator[tuple[str, Any]]:
        """Every row as (file:line, its fields), or what is wrong with it."""
        columns = [getattr(self, column) for column in self.columns]
        for name, path, _ in found(self.path):
            for line, row in self.read(path, name, columns):
                where = f"{name}:{line}"
                if isinstance(row, Malformed):
                    yield where, row
                    continue
                try:
                    content = self.checked(*row)
                except Malformed as error:
                    yield where, error
                else:
                    yield where, content

    @property
    def cells(self) -> list[Cell]:
        """What the columns' values are taken as."""
        return [text] * len(self.columns)

    def read(self, path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
        """(line, its fields, or what is wrong) of every row of a file."""
        yield from rows(path, name, columns, self.cells)

    def checked(self, *row: Any) -> Any:
        """A document of the fields of a row; raises `Malformed` where they cannot be used."""
        return row
