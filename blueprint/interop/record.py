"""What an import remembers, so that an export gives back what came: `import.json`, `family.yaml` and `hf/`.

FOLDER/import.json   the family, the plan of then, and the files' tensors in their order
FOLDER/family.yaml   the family as it was
FOLDER/hf/           config, tokenizer and all that came beside the weights
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blueprint.files import write_atomic
from blueprint.interop.error import CheckpointError
from blueprint.interop.safetensors_io import ITEM
from blueprint.interop.safetensors_out import Out
from blueprint.training.folder import IMPORTED

FILE, FAMILY, CARRIED = IMPORTED
DROPPED = "dropped.safetensors"
#: What lies beside weights and is no word about the model: other forms of the weights, and code.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".py")
_LARGEST = 200_000_000


@dataclass(frozen=True)
class Record:
    """An import: `files` are those of the checkpoint with their metadata and their tensors, in order."""

    family: str
    family_hash: str
    plan: str
    ignore: list[str] = field(default_factory=list)
    layout: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    def outs(self) -> dict[str, list[Out]]:
        """The tensors of every file as they came."""
        return {
            file: [Out(name, dtype, tuple(shape)) for name, dtype, shape in said["tensors"]]
            for file, said in self.files.items()
        }

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        write_atomic(folder / FILE, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Kept:
    """A record and the folder it lies in."""

    folder: Path
    record: Record

    @property
    def family(self) -> Path:
        """The family as it was at the import."""
        return self.folder / FAMILY

    @property
    def hf(self) -> Path:
        """What came beside the weights."""
        return self.folder / CARRIED

    @property
    def dropped(self) -> Path:
        """The tensors that carry nothing, kept to be given back."""
        return self.folder / CARRIED / DROPPED


def find_record(folder: Path) -> Kept | None:
    """The record in a folder, if there is one; raises `CheckpointError` for one that cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = Record(**json.loads(path.read_text()))
        if any(dtype not in ITEM for outs in found.outs().values() for dtype in (out.dtype for out in outs)):
            raise ValueError("an unknown number format")
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return Kept(folder, found)


def beside(folder: Path) -> Iterator[Path]:
    """The files of a checkpoint that are not weights: config, tokenizer, generation settings, licence."""
    for path in sorted(folder.iterdir()):
        name = path.name
        known = name.startswith(".") or name.endswith((*_WEIGHTS, ".index.json"))
        if not known and path.is_file() and path.stat().st_size <= _LARGEST:
            yield path
