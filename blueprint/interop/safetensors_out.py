"""Checkpoints of safetensors files, written tensor by tensor: the header first, since sizes are known."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.files import atomic_path, room_for, write_atomic
from blueprint.interop.error import CheckpointError
from blueprint.interop.safetensors_io import INDEX, ITEM, SINGLE, Array, Shape, Stored

#: The largest file that `shards` makes.
SHARD_BYTES = 5 * 10**9
#: Bytes written at once: larger pieces cost the system several times as much.
_PIECE = 1 << 20


@dataclass
class Out:
    """A tensor to be written, and whether it was."""

    name: str
    dtype: str
    shape: Shape
    start: int = 0
    done: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return math.prod(self.shape) * ITEM[self.dtype]


@dataclass
class Writer:
    """A safetensors file whose tensors are put in their places in any order."""

    handle: int
    outs: dict[str, Out] = field(default_factory=dict)

    def put(self, name: str, array: Array) -> None:
        """Write a tensor's bits."""
        out = self.outs[name]
        assert array.shape == out.shape, (name, array.shape, out.shape)
        assert array.dtype.itemsize == ITEM[out.dtype], (name, array.dtype, out.dtype)
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        at = out.start
        while data:
            done = os.pwrite(self.handle, data[:_PIECE], at)
            data, at = data[done:], at + done
        out.done = True

    def put_stored(self, name: str, tensor: Stored) -> None:
        """Write a tensor as it lies in another file; its bytes pass through no memory of this process."""
        out = self.outs[name]
        assert (tensor.dtype, tensor.shape) == (out.dtype, out.shape), (name, tensor, out)
        source, left = os.open(tensor.file, os.O_RDONLY | os.O_CLOEXEC), out.nbytes
        try:
            while left:
                done = _piece(
                    source, tensor.start + out.nbytes - left, self.handle, out.start + out.nbytes - left, left
                )
                if not done:
                    raise CheckpointError(f"{tensor.file} became shorter while it was read")
                left -= done
        finally:
            os.close(source)
        out.done = True


def _piece(source: int, at: int, target: int, to: int, size: int) -> int:
    """Copy at most `size` bytes from file to file; returns how many."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, min(size, 1 << 26), at, to)
        except OSError:
            pass  # not between these two file systems
    return os.pwrite(target, os.pread(source, min(size, _PIECE), at), to)


@contextmanager
def writer(path: Path, outs: Sequence[Out], metadata: Mapping[str, str] | None = None) -> Iterator[Writer]:
    """A file with these tensors, in this order; it is there, synced, once the body has put them all."""
    at = 0
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for out in outs:
        header[out.name] = {"dtype": out.dtype, "shape": list(out.shape), "data_offsets": [at, at + out.nbytes]}
        out.start, out.done = at, False
        at += out.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded so that the tensors begin at a multiple of eight.
    text += b" " * (-len(text) % 8)
    for out in outs:
        out.start += 8 + len(text)
    with room_for(path, 8 + len(text) + at), atomic_path(path) as temporary:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.truncate(handle, 8 + len(text) + at)
            os.pwrite(handle, struct.pack("<Q", len(text)) + text, 0)
            made = Writer(handle, {out.name: out for out in outs})
            yield made
            missing = [out.name for out in outs if not out.done]
            assert not missing, f"never written: {missing}"
        finally:
            os.close(handle)


def ordered(outs: Sequence[Out]) -> list[Out]:
    """Tensors so that each lies at a multiple of its element's size: the widest elements first, else as they come."""
    return sorted(outs, key=lambda out: -ITEM[out.dtype])


def shards(outs: Sequence[Out], limit: int = SHARD_BYTES) -> dict[str, list[Out]]:
    """The files of a checkpoint: one, or as many as are needed for none to be larger than `limit`."""
    groups: list[list[Out]] = [[]]
    for out in outs:
        if groups[-1] and sum(each.nbytes for each in groups[-1]) + out.nbytes > limit:
            groups.append([])
        groups[-1].append(out)
    if len(groups) == 1:
        return {SINGLE: ordered(groups[0])}
    return {f"model-{n:05}-of-{len(groups):05}.safetensors": ordered(group) for n, group in enumerate(groups, 1)}


@contextmanager
def sharded(
    folder: Path, files: Mapping[str, Sequence[Out]], metadata: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[dict[str, Writer]]:
    """The writer of every tensor of a checkpoint of several files; the index is written once they are whole."""
    said = metadata or {}
    with ExitStack() as stack:
        writers = {}
        for name, outs in files.items():
            made = stack.enter_context(writer(folder / name, outs, said.get(name, {"format": "pt"})))
            writers.update({out.name: made for out in outs})
        yield writers
    if list(files) != [SINGLE]:
        every = {out.name: (name, out) for name, outs in files.items() for out in outs}
        total = {
            "total_parameters": sum(math.prod(out.shape) for _, out in every.values()),
            "total_size": sum(out.nbytes for _, out in every.values()),
        }
        index = {"metadata": total, "weight_map": {name: file for name, (file, _) in sorted(every.items())}}
        write_atomic(folder / INDEX, json.dumps(index, indent=2, sort_keys=True) + "\n")
