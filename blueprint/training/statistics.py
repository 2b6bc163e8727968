"""What parts measure of themselves while a model learns (`settle`), step by step: the run's statistics.csv.

A row holds one statistic of one part at one step: `step,part,statistic,0,1,2,…`, a statistic of one number in column 0,
one of several (a load, expert by expert) in as many columns as it has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blueprint.files import atomic_path, room_for
from blueprint.training.metrics import readable

#: The statistics of a step: numbers by part and name.
Told = dict[str, dict[str, list[float] | float]]
#: A statistic through time: the steps (S,), and the values, (S,) or (S, N).
Series = tuple[NDArray[np.int64], NDArray[np.float64]]

_HEAD = ("step", "part", "statistic")


def told(settled: Mapping[str, Mapping[str, Tensor]]) -> Told:
    """What modules told by `settle`, as numbers: all of it comes from the device at once."""
    tensors = [tensor for statistics in settled.values() for tensor in statistics.values()]
    if not tensors:
        return {}
    values = iter(torch.cat([tensor.detach().flatten().float() for tensor in tensors]).tolist())

    def taken(tensor: Tensor) -> list[float] | float:
        return [next(values) for _ in range(tensor.numel())] if tensor.ndim else next(values)

    found = {part: {name: taken(tensor) for name, tensor in each.items()} for part, each in settled.items()}
    return {part: each for part, each in found.items() if each}


def columns(found: Told) -> dict[str, float]:
    """Every statistic of one number over all parts that tell it: by its name their mean, as `…_max` the highest."""
    by_name: dict[str, list[float]] = {}
    for statistics in found.values():
        for name, value in statistics.items():
            if not isinstance(value, list):
                by_name.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in by_name.items()}
    return {f"{name}{end}": value for name in means for end, value in (("", means[name]), ("_max", max(by_name[name])))}


class Statistics:
    """The file, written step by step; there is none as long as nothing was told."""

    def __init__(self, path: Path, *, after: int | None = None) -> None:
        """Open a file that may exist; what lies past step `after` belongs to a future that did not happen, and goes."""
        self.path, self._width = path, 0
        if not path.is_file():
            return
        rows = [row for row in _rows(path) if after is None or int(row[0]) <= after]
        if rows:
            self._rewrite(rows)
        else:
            path.unlink()

    def put(self, step: int, found: Told) -> None:
        """Append what was told at `step`, which comes after the last one."""
        rows = []
        for part, statistics in found.items():
            for name, value in statistics.items():
                values = value if isinstance(value, list) else [value]
                rows.append([str(step), part, name, *map(_text, values)])
        if max(map(len, rows), default=0) > self._width:
            self._rewrite([*(_rows(self.path) if self.path.is_file() else ()), *rows])
        elif rows:
            with room_for(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(_lines(rows))

    def _rewrite(self, rows: list[list[str]]) -> None:
        self._width = max(map(len, rows))
        head = [*_HEAD, *map(str, range(self._width - len(_HEAD)))]
        with atomic_path(self.path) as temporary:
            temporary.write_text(_lines([head, *rows]), encoding="utf-8", newline="")


def read(path: Path) -> dict[str, dict[str, Series]]:
    """Every statistic through time, by its name and part; nothing where there is no file. A step at which a part told
    another number of values than at last is left out."""
    found: dict[str, dict[str, list[tuple[int, list[float]]]]] = {}
    for step, part, name, *values in _rows(path) if path.is_file() else ():
        found.setdefault(name, {}).setdefault(part, []).append((int(step), [float(value) for value in values if value]))
    return {name: {part: _series(points) for part, points in parts.items()} for name, parts in found.items()}


def _series(points: list[tuple[int, list[float]]]) -> Series:
    size = len(points[-1][1])
    kept = [(step, values) for step, values in points if len(values) == size]
    values = np.array([values for _, values in kept])
    return np.array([step for step, _ in kept]), values[:, 0] if size == 1 else values


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows under the head; a last line that was cut short is passed over. Raises `TrainError` for a damaged one."""
    with readable(path):
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))[1:]
        for step, _, _, *values in rows:
            int(step), [float(value) for value in values if value]
    yield from rows


def _lines(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _text(value: float) -> str:
    # Seven digits tell one float32 from another, but for the last bits.
    return f"{value:.7g}"
