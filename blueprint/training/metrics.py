"""metrics.csv: one row a logged step, readable at any moment, cut back when a run resumes from an earlier step."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from blueprint.files import room_for, write_atomic
from blueprint.training.error import TrainError

Row = dict[str, float]

#: What columns of held-out data begin with.
HELD_OUT = "validation_"
COLUMNS = (
    "step",
    "tokens",
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "data_wait",
    "validation_loss",
    "validation_bits_per_byte",
)


class Table:
    """The rows of a metrics file, by step; values of one step share a row, however late they come."""

    def __init__(self, path: Path, *, after: int | None = None) -> None:
        """Open a file that may exist; rows past step `after` belong to a future that did not happen, and go."""
        self.path = path
        rows = [row for row in read(path) if after is None or row["step"] <= after]
        self.columns = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
        self._last: Row = rows[-1] if rows else {}
        self._rewrite(rows)

    def put(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the row of `step`, which is the last one or comes after it."""
        if step != self._last.get("step"):
            self._at, self._last = self.path.stat().st_size, {"step": step}
        self._last.update(values)
        new = [name for name in values if name not in self.columns]
        if new:
            self.columns += new
            self._rewrite([*(row for row in read(self.path) if row["step"] != step), self._last])
        else:
            self._write()

    @property
    def last(self) -> Row:
        """The newest row."""
        return dict(self._last)

    def _write(self) -> None:
        # In place: the row may have been there with fewer values.
        with room_for(self.path), open(self.path, "r+b") as file:
            file.seek(self._at)
            file.write(self._lines([self._last]).encode())
            file.truncate()

    def _rewrite(self, rows: list[Row]) -> None:
        # The last row with the others: who is killed here loses none.
        before = ",".join(self.columns) + "\n" + self._lines(rows[:-1])
        write_atomic(self.path, before + self._lines(rows[-1:]))
        self._at = len(before.encode())

    def _lines(self, rows: Iterable[Row]) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
        return out.getvalue()


def read(path: Path) -> list[Row]:
    """The rows of a metrics file, absent values left out; a last line that was cut short is passed over.

    Raises `TrainError` where a line is damaged.
    """
    if not path.is_file():
        return []
    with readable(path):
        text = path.read_text()
        rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        found = [{name: float(value) for name, value in row.items() if value} for row in rows]
        if any("step" not in row for row in found):
            raise ValueError("a row has no step")
    return found


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Tell of a table that is damaged how the run can go on: raises `TrainError`."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, IndexError, csv.Error) as error:
        raise TrainError(
            f"{path} cannot be read: {error}\n  = fix: mend the line, or remove the file: it tells of the run, which "
            "goes on without it"
        ) from error


def scores(row: Mapping[str, float]) -> Row:
    """What a row says of the held-out data besides its loss, by the scores' own names."""
    said = {name: value for name, value in row.items() if name.startswith(HELD_OUT) and name not in COLUMNS}
    return {name.removeprefix(HELD_OUT): value for name, value in said.items()}


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
