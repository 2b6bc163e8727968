"""Checkpoints of safetensors files, read tensor by tensor where they lie.

A file is eight bytes with the length of a JSON header, the header, and the tensors' bytes one after the other; a large
checkpoint is several such files and an index that says which tensor is in which. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from blueprint.interop.error import CheckpointError

Array = NDArray[Any]
Shape = tuple[int, ...]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_HEADER = 100_000_000
MAX_AXES = 32
#: Bytes of an element. Values are never computed with, so numpy's whole numbers of that size stand for all of them.
ITEM = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
BITS: dict[int, np.dtype[Any]] = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}
_UNREAD = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: `start` counts bytes from the file's beginning."""

    name: str
    dtype: str
    shape: Shape
    file: Path
    start: int

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return math.prod(self.shape) * ITEM[self.dtype]

    def read(self) -> Array:
        """The tensor's bits, mapped and not yet read."""
        if not self.nbytes:
            return np.empty(self.shape, BITS[ITEM[self.dtype]])
        mapped = np.memmap(self.file, BITS[ITEM[self.dtype]], "r", self.start, self.shape)
        found: Array = mapped.view(np.ndarray)
        return found


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint in the order they lie in, and what each of its files says of itself."""

    path: Path
    tensors: dict[str, Stored]
    metadata: dict[str, dict[str, str]]

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a folder, or of one file; headers are read and judged, tensors are not.

    Raises `CheckpointError` for what is missing or damaged, and for pickled weights.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    files, listed = ([path], {}) if path.is_file() else _files(path)
    tensors: dict[str, Stored] = {}
    metadata = {}
    for file in files:
        found, metadata[file.name] = read_header(file)
        for name, tensor in found.items():
            if name in tensors:
                raise CheckpointError(f"{file}: the tensor {name} is in {tensors[name].file.name}, too")
            tensors[name] = tensor
    for name, said in listed.items():
        if name not in tensors or tensors[name].file.name != said:
            raise CheckpointError(f"{path / INDEX}: the tensor {name} should be in {said}, and is not")
    return Checkpoint(path, tensors, metadata)


def _files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The files of a checkpoint, and the index where there is one."""
    if (folder / INDEX).is_file():
        index = _json((folder / INDEX).read_bytes(), folder / INDEX)
        listed = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(listed, dict) or not all(isinstance(each, str) for each in listed.values()):
            raise CheckpointError(f"{folder / INDEX} is no index: it has no `weight_map` of names to files")
        for name in dict.fromkeys(listed.values()):
            # The index is data from elsewhere: it may name no file outside of the folder.
            if Path(name).name != name or name.startswith("."):
                raise CheckpointError(f"{folder / INDEX} names `{name}`, which is no file of this folder")
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder / name} is missing: {INDEX} names it")
        return [folder / name for name in sorted(set(listed.values()))], listed
    if (folder / SINGLE).is_file():
        return [folder / SINGLE], {}
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return others, {}
    if others:
        named = ", ".join(each.name for each in others[:5])
        raise CheckpointError(f"{folder} holds {len(others)} safetensors files ({named}) and no {INDEX} to join them")
    pickled = next((each for pattern in _UNREAD for each in sorted(folder.glob(pattern))), None)
    if pickled is not None:
        raise CheckpointError(
            f"{pickled} is no safetensors file, and reading such weights could run code: it is not opened\n"
            "  = fix: load the model where you trust it and write it anew with "
            "`model.save_pretrained(folder)`, which makes safetensors"
        )
    raise CheckpointError(f"{folder} holds no weights: neither {SINGLE} nor {INDEX} is there")


def read_header(file: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of one file in the order they lie in, and its metadata; raises `CheckpointError` where false."""
    size = file.stat().st_size
    with open(file, "rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise CheckpointError(f"{file} is no safetensors file, or cut short: its header cannot be {length:,} bytes")
        header = _json(opened.read(length), file)
    if not isinstance(header, dict):
        raise CheckpointError(f"{file}: the header is no map")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{file}: `__metadata__` in the header is no map of text")
    found = [_stored(file, 8 + length, name, said) for name, said in header.items()]
    found.sort(key=lambda each: (each[0].start, each[1]))
    at = 8 + length
    for tensor, end in found:
        if tensor.start != at:
            how = "overlaps another" if tensor.start < at else "leaves a gap before it"
            raise CheckpointError(f"{file}: the header is false: the tensor {tensor.name} {how}")
        at = end
    if at != size:
        how = "cut short" if at > size else "longer than its header says"
        raise CheckpointError(f"{file} is {how}: {size:,} bytes, where the header asks for {at:,}")
    return {tensor.name: tensor for tensor, _ in found}, metadata


def _stored(file: Path, base: int, name: str, said: Any) -> tuple[Stored, int]:
    """A tensor of a header and where it ends."""
    fields = said if isinstance(said, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not _whole(shape) or len(shape) > MAX_AXES or not _whole(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{file}: the header does not say shape and place of the tensor {name}")
    if dtype not in ITEM:
        raise CheckpointError(f"{file}: the tensor {name} has the number format {dtype!r}, which is not read")
    tensor = Stored(name, dtype, tuple(shape), file, base + offsets[0])
    if offsets[1] - offsets[0] != tensor.nbytes:
        size = f"{offsets[1] - offsets[0]:,}"
        raise CheckpointError(f"{file}: the header is false: {name} is {dtype} {list(shape)}, and has {size} bytes")
    return tensor, base + offsets[1]


def _whole(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 62 for each in value)


def _json(data: bytes, file: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        return json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: what should be JSON cannot be read: {error}") from error
