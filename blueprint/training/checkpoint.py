"""Checkpoint files: written aside, synced and renamed, with a checksum beside each; read without running code.

`step=000100.ckpt` is an ordinary Lightning checkpoint, `step=000100.ckpt.sha256` its checksum as `sha256sum -c` reads
it. The checksum is written first: a checkpoint without one was not finished here, though it may be whole.
"""

from __future__ import annotations

import io
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from blueprint.files import atomic_path, room_for, sha256_file, write_atomic
from blueprint.files import sweep as half_written
from blueprint.training.error import RestoreError

#: Where a checkpoint holds the averaged weights, by the model's names for them.
AVERAGED = "averaged"

_NAME = re.compile(r"step=(\d+)\.ckpt")
_SUM = re.compile(r"([0-9a-f]{64})  .+")


def name(step: int) -> str:
    """The file name of the checkpoint after `step` optimizer steps."""
    return f"step={step:06d}.ckpt"


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's file name, or None for another file."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def listing(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest step first."""
    found = [(step, path) for path in folder.glob("step=*.ckpt") if (step := step_of(path)) is not None]
    return [path for _, path in sorted(found)]


def sidecar(path: Path) -> Path:
    """Where a checkpoint's checksum lies."""
    return path.with_name(path.name + ".sha256")


def write(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: a crash at any moment leaves it whole or absent. Raises `files.Full` where there
    is no room for it."""
    before = sidecar(path).read_text() if sidecar(path).exists() else ""
    with room_for(path, _size(checkpoint)), atomic_path(path) as temporary:
        _save(dict(checkpoint), temporary)
        line = f"{sha256_file(temporary)}  {path.name}\n"
        # Until the rename, a file that is being replaced is still the whole one.
        write_atomic(sidecar(path), line + before)
    if before:
        write_atomic(sidecar(path), line)


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    with _Opened(path, "wb") as raw, io.BufferedWriter(raw, 1 << 20) as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            raise raw.failed or error from error


class _Opened(io.FileIO):
    """A file that remembers what the system said where it could not be written: torch says only that it could not."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise


def _size(checkpoint: Mapping[str, Any]) -> int:
    """About how many bytes a checkpoint takes: those of its tensors."""
    stored = (each.untyped_storage() for each in _tensors(checkpoint))
    return sum({each.data_ptr(): each.nbytes() for each in stored}.values())


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or None where it is as it was written."""
    if path.is_dir():
        return "it is a folder, as DeepSpeed leaves them, which nothing but DeepSpeed reads"
    if not path.is_file():
        return "there is no such file"
    if not path.stat().st_size:
        return "the file is empty"
    try:
        lines = sidecar(path).read_text().splitlines()
        said = {found[1] for line in lines if (found := _SUM.fullmatch(line))}
    except (OSError, UnicodeDecodeError):
        said = set()
    if said:
        return None if sha256_file(path) in said else "its content does not match its checksum"
    if not zipfile.is_zipfile(path):
        return "it is cut short, or no checkpoint at all"
    # A file that was moved alone has no checksum beside it, but torch stores one for each of its parts.
    try:
        with zipfile.ZipFile(path) as archive:
            # torch stores its parts as they are: one that grows as it is read is none of its.
            if any(part.file_size > part.compress_size for part in archive.infolist()):
                return "its parts are compressed, which no checkpoint's are"
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        return f"it cannot be read ({error})"
    return None if bad is None else f"its part {bad} does not match its checksum"


def newest_whole(folder: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest undamaged checkpoint, and the damaged ones that are newer with what is wrong with them."""
    damaged: dict[Path, str] = {}
    for path in reversed(listing(folder)):
        wrong = damage(path)
        if wrong is None:
            return path, damaged
        damaged[path] = wrong
    return None, damaged


def read(path: Path, *, verify: bool = True) -> dict[str, Any]:
    """A checkpoint's content on the CPU; tensors and plain values only, nothing in it is ever run.

    Raises `RestoreError` for a file that is missing, damaged, or holds pickled code.
    """
    wrong = damage(path) if verify else None
    if wrong is not None:
        raise RestoreError(f"{path} cannot be read: {wrong}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" (`{named[1]}`)" if named else ""
        raise RestoreError(
            f"{path} holds pickled objects{what}, not just tensors and plain values: reading it could run code, "
            "so it is refused"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise RestoreError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise RestoreError(f"{path} holds a {type(found).__name__}, not a checkpoint")
    return found


def made_by(path: Path, own: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What Blueprint put into a checkpoint (the spec, the lock) of a run whose module holds the tensors `own`; raises
    `RestoreError` for any other."""
    found = read(path, verify=False)
    ours, state, fix = found.get("blueprint"), found.get("state_dict"), "\n  = fix: take it out of the run's folder"
    if not isinstance(ours, dict) or not isinstance(state, dict) or "loops" not in found:
        raise RestoreError(f"{path} is no checkpoint of a run{fix}")
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (own, state)]
    if shapes[0] != shapes[1] or found["global_step"] != step_of(path):
        raise RestoreError(f"{path} is of another run{fix}")
    return ours


def prune(folder: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints, and what interrupted writers left; call it as the only writer."""
    for path in listing(folder)[:-keep]:
        remove(path)
    sweep(folder)


def remove(path: Path) -> None:
    """Remove a checkpoint and its checksum; DeepSpeed's are folders."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    sidecar(path).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove half-written files and checksums without a file."""
    half_written(folder)
    for path in folder.glob("step=*.ckpt.sha256"):
        if not path.with_suffix("").exists():
            path.unlink(missing_ok=True)


def bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's values."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
