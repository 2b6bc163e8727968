"""Token files: the ids of a text's documents, memory-mapped from a folder that `build` wrote.

FOLDER/index.json            counts, hashes, settings; written last
FOLDER/SPLIT/tokens.bin      every id, one document after the other: uint8, uint16 or uint32, little-endian
FOLDER/SPLIT/documents.bin   int64: where each document starts in tokens.bin, and at last where the last one ends
FOLDER/SPLIT/names.bin       the documents' names, UTF-8, end to end
FOLDER/SPLIT/names_at.bin    int64: where each name starts in names.bin, and the end
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.cache import intact, unsummed
from blueprint.training.data.error import DataError

FORMAT = 1
SPLITS = ("train", "validation")


def id_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned integer that holds every id of a vocabulary."""
    if vocab_size > 1 << 32:
        raise DataError(f"a vocabulary of {vocab_size:,} ids does not fit 32 bits")
    return np.dtype("u1" if vocab_size <= 1 << 8 else "<u2" if vocab_size <= 1 << 16 else "<u4")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of tokens inside one document: tokens `start` to `stop` (exclusive) of document number `document`."""

    document: int
    name: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.name} (tokens {self.start:,} to {self.stop:,})"


class Split:
    """One split of a token folder: its counts, and its arrays, mapped when first used.

    `source` says in messages where the text came from. A copy sent to another process carries the path alone and maps
    the files anew. Raises `DataError` where the folder is not a whole one.
    """

    def __init__(self, folder: Path, name: str, source: str | None = None) -> None:
        self.folder, self.name, self.source = Path(folder), name, source or str(folder)
        index = read_index(self.folder)
        counts = index["splits"][name]
        self.tokens: int = counts["tokens"]
        self.documents: int = counts["documents"]
        self.bytes: int = counts["bytes"]
        self.hash: str = counts["hash"]
        self.vocab_size: int = index["vocab_size"]
        self.eos_id: int | None = index["eos_id"]
        self.label = f"the {name} split of {self.source}"
        self._type = id_type(self.vocab_size)

    def __reduce__(self) -> tuple[type[Split], tuple[Path, str, str]]:
        return Split, (self.folder, self.name, self.source)

    @cached_property
    def ids(self) -> NDArray[Any]:
        """(tokens,) every id, documents end to end."""
        return self._map("tokens.bin", self._type)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(documents + 1,) where each document starts in `ids`; the last entry is the number of tokens."""
        return self._map("documents.bin", np.dtype("<i8"))

    @cached_property
    def _names(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        return self._map("names.bin", np.dtype("u1")), self._map("names_at.bin", np.dtype("<i8"))

    def read(self, size: int) -> Iterator[NDArray[Any]]:
        """Every id, `size` at a time, without a place in memory for the others."""
        with open(self.folder / self.name / "tokens.bin", "rb") as file:
            while len(ids := np.fromfile(file, dtype=self._type, count=size)):
                yield ids

    def document(self, number: int) -> NDArray[Any]:
        """The ids of one document, its end token included where the tokenizer has one."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    def document_name(self, number: int) -> str:
        """The name the source gave a document."""
        text, at = self._names
        return text[at[number] : at[number + 1]].tobytes().decode()

    def where(self, start: int, stop: int) -> list[Piece]:
        """The documents that tokens `start` to `stop` (exclusive) of the split lie in, in order."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        pieces = []
        for number in range(first, last):
            begin, end = int(self.starts[number]), int(self.starts[number + 1])
            name = self.document_name(number)
            pieces.append(Piece(number, name, max(start, begin) - begin, min(stop, end) - begin))
        return pieces

    def _map(self, file: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        # A view as a plain array: indexing a memmap object costs several times as much.
        return np.memmap(self.folder / self.name / file, dtype=dtype, mode="r").view(np.ndarray)


class Tokens:
    """A whole token folder: `train` and `validation`, `content` (hash of the documents), `key` (hash of everything)."""

    def __init__(self, folder: Path, source: str | None = None) -> None:
        self.folder = Path(folder)
        self.index = read_index(self.folder)
        self.key: str = self.index["key"]
        self.content: str = self.index["content"]
        self.train, self.validation = (Split(self.folder, name, source) for name in SPLITS)

    def check(self) -> None:
        """Raise `DataError` where a file is not what was written; very large ones are not read for that."""
        for name in SPLITS:
            for file, digest in self.index["splits"][name].get("sums", {}).items():
                if not intact(self.folder / name / file, digest):
                    raise DataError(f"{self.folder / name / file} is damaged: it does not match its checksum")


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a token folder. Raises `DataError` where it is missing, unreadable, or belies the files' sizes."""
    try:
        index = unsummed(json.loads((folder / "index.json").read_bytes()))
        if index["format"] != FORMAT:
            raise DataError(f"{folder} holds token files of format {index['format']}, not {FORMAT}: delete the folder")
        size = id_type(index["vocab_size"]).itemsize
        for name in SPLITS:
            counts = index["splits"][name]
            offsets = 8 * (counts["documents"] + 1)
            expected = {"tokens.bin": counts["tokens"] * size, "documents.bin": offsets, "names_at.bin": offsets}
            for file, length in expected.items():
                found = (folder / name / file).stat().st_size
                if found != length:
                    raise DataError(
                        f"{folder / name / file} is damaged: {found:,} bytes instead of {length:,}; delete {folder}"
                    )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"{folder} is not a whole folder of token files ({problem}): delete it") from problem
    return index
