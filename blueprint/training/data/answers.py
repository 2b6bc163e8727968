"""What models answered about the samples of a split: computed once, memory-mapped from a folder.

FOLDER/index.json   how many samples there are, and each answer's shape and number format; written last
FOLDER/NAME.bin     one answer of every sample, end to end
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint import files
from blueprint.training.data.cache import digest_of, intact, passing_over, summed, unsummed
from blueprint.training.data.error import DataError
from blueprint.training.data.packing import Arrays
from blueprint.training.data.progress import reporter

FORMAT = 1


class Answers:
    """The answers in a folder that `keep` wrote; `(n)` gives those about sample n.

    A copy sent to another process carries the path alone and maps the files anew. Raises `DataError` where the folder
    is not a whole one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            index = unsummed(json.loads((self.folder / "index.json").read_bytes()))
            self.samples: int = index["samples"]
            self.columns = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in index["columns"].items()}
            self.sums: dict[str, str | None] = index.get("sums", {})
            for name, (shape, dtype) in self.columns.items():
                if self._path(name).stat().st_size != self.samples * math.prod(shape) * dtype.itemsize:
                    raise ValueError(f"{name} is cut short")
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise DataError(f"{folder} is not a whole folder of answers ({problem}): delete it") from problem

    def check(self) -> Answers:
        """The answers, if they are what was written; very large ones are not read for that. Raises `DataError`."""
        for name in self.columns:
            if not intact(self._path(name), self.sums.get(name)):
                raise DataError(f"{self._path(name)} is damaged: it does not match its checksum")
        return self

    def __reduce__(self) -> tuple[type[Answers], tuple[Path]]:
        return Answers, (self.folder,)

    def __call__(self, sample: int) -> Arrays:
        """The answers about a sample, by their names."""
        return {name: np.array(found[sample]) for name, found in self._arrays.items()}

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            name: np.memmap(self._path(name), dtype=dtype, mode="r", shape=(self.samples, *shape)).view(np.ndarray)
            for name, (shape, dtype) in self.columns.items()
        }

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.bin"


def keep(
    answers: Callable[[], Iterable[Mapping[str, NDArray[Any]]]],
    samples: int,
    settings: Mapping[str, Any],
    *,
    cache: Path,
    progress: bool | None = None,
) -> Answers:
    """The answers about `samples` samples, from the folder of the cache that `settings` name.

    Where there is none, `answers()` is asked for them, in order and in batches of rows by name; one batch is in memory
    at a time. Raises `DataError` where they do not fit on the disk.
    """
    said = json.dumps({"format": FORMAT, "samples": samples, **settings}, sort_keys=True)
    folder = cache / "answers" / hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
    with contextlib.suppress(DataError):
        return Answers(folder).check()
    try:
        with files.lock(folder.with_suffix(".lock"), wait=True):
            try:
                return Answers(folder).check()  # whoever held the lock may have asked
            except DataError as why:
                if folder.exists():
                    passing_over(folder, why)
            aside = folder.with_suffix(".part")
            for leftover in (aside, folder):
                shutil.rmtree(leftover, ignore_errors=True)
            aside.mkdir(parents=True)
            try:
                columns = _write(aside, answers(), samples, progress)
                sums = {name: digest_of(aside / f"{name}.bin") for name in columns}
                index = {"settings": json.loads(said), "samples": samples, "columns": columns, "sums": sums}
                files.write_atomic(aside / "index.json", json.dumps(summed(index), indent=1))
                os.rename(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            files.sync_folder(folder.parent)
    except OSError as problem:
        raise DataError(
            f"cannot write answers to {cache} ({problem}); set BLUEPRINT_CACHE to another folder, or keep fewer"
        ) from problem
    return Answers(folder)


def _write(
    folder: Path, batches: Iterable[Mapping[str, NDArray[Any]]], samples: int, progress: bool | None
) -> dict[str, tuple[tuple[int, ...], str]]:
    columns: dict[str, tuple[tuple[int, ...], str]] = {}
    with contextlib.ExitStack() as stack, reporter(progress) as report:
        opened: dict[str, Any] = {}
        advance: Callable[[int], None] = lambda _size: None  # noqa: E731
        for rows in batches:
            if not opened:
                size = samples * sum(each[:1].nbytes for each in rows.values())
                _room(folder, size)
                advance = stack.enter_context(report("asking", size))
                opened = {name: stack.enter_context(open(folder / f"{name}.bin", "wb")) for name in rows}
                columns = {name: (each.shape[1:], each.dtype.str) for name, each in rows.items()}
            for name, each in rows.items():
                opened[name].write(np.ascontiguousarray(each).data)
                advance(each.nbytes)
        for file in opened.values():
            file.flush()
            os.fsync(file.fileno())
    return columns


def _room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(f"the answers take {size / 1e9:,.1f} GB, of which {folder.parent} has {free / 1e9:,.1f} left")
