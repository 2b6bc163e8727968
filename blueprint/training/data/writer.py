"""Write the token files of one split; `store` says what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from blueprint import files
from blueprint.training.data.cache import digest_of
from blueprint.training.data.journal import opened

_CHUNK = 1 << 20


class Writer:
    """The four files of one split, written front to back and synced at the end; `place` tells where a writer was, that
    another goes on from there. Raises OSError where the files are not as long."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], place: Mapping[str, int] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dtype = folder, dtype
        self.tokens = self.documents = self.bytes = self.name_bytes = 0
        if place is not None:
            self.tokens, self.documents = place["tokens"], place["documents"]
            self.bytes, self.name_bytes = place["bytes"], place["name_bytes"]
        self.hash = hashlib.blake2b(digest_size=16)
        self.files: list[BinaryIO] = []
        self._begun = place is not None

    def __enter__(self) -> Writer:
        offsets = 8 * (self.documents + 1) if self._begun else 0
        sizes = {
            "tokens.bin": self.tokens * self.dtype.itemsize,
            "documents.bin": offsets,
            "names.bin": self.name_bytes,
            "names_at.bin": offsets,
        }
        try:
            for name, size in sizes.items():
                self.files.append(opened(self.folder / name, size))  # closed in __exit__
            if self._begun:
                with open(self.folder / "tokens.bin", "rb") as written:
                    while data := written.read(_CHUNK):
                        self.hash.update(data)
            else:
                self._offsets()
        except BaseException:
            for file in self.files:
                file.close()
            raise
        return self

    def add(self, name: str, ids: NDArray[Any], size: int) -> None:
        """Append one document: its name, its ids, and the bytes its text took."""
        data, said = ids.tobytes(), name.encode(errors="replace")
        self.files[0].write(data)
        self.files[2].write(said)
        self.hash.update(data)
        self.documents += 1
        self.tokens += len(ids)
        self.bytes += size
        self.name_bytes += len(said)
        self._offsets()

    def _offsets(self) -> None:
        self.files[1].write(self.tokens.to_bytes(8, "little"))
        self.files[3].write(self.name_bytes.to_bytes(8, "little"))

    def place(self) -> dict[str, int]:
        """How far the files are written."""
        names = ("tokens", "documents", "bytes", "name_bytes")
        return {name: getattr(self, name) for name in names}

    def counts(self) -> dict[str, Any]:
        """What the index says of the split, once the files are closed."""
        sums = {file.name: digest_of(file) for file in sorted(self.folder.glob("*.bin"))}
        counts = {"tokens": self.tokens, "documents": self.documents, "bytes": self.bytes}
        return counts | {"hash": self.hash.hexdigest(), "sums": sums}

    def __exit__(self, *_: object) -> None:
        self.files[2].write(b"\n")  # an empty file cannot be mapped
        for file in self.files:
            with file:
                file.flush()
                os.fsync(file.fileno())
        files.sync_folder(self.folder)
