"""Write the token files of one split; `store` says what they hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from blueprint import files


class Writer:
    """The four files of one split, written front to back and synced at the end."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        folder.mkdir(parents=True)
        self.folder, self.dtype = folder, dtype
        self.tokens = self.documents = self.bytes = self.name_bytes = 0
        self.hash = hashlib.blake2b(digest_size=16)
        self.files: list[BinaryIO] = []

    def __enter__(self) -> Writer:
        for name in ("tokens.bin", "documents.bin", "names.bin", "names_at.bin"):
            self.files.append(open(self.folder / name, "xb"))  # closed in __exit__
        self._offsets()
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

    def counts(self) -> dict[str, Any]:
        """What the index says of the split."""
        return {"tokens": self.tokens, "documents": self.documents, "bytes": self.bytes, "hash": self.hash.hexdigest()}

    def __exit__(self, *_: object) -> None:
        self.files[2].write(b"\n")  # an empty file cannot be mapped
        for file in self.files:
            with file:
                file.flush()
                os.fsync(file.fileno())
        files.sync_folder(self.folder)
