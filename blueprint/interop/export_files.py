"""The files of an export: which tensor goes where, the weights, the config, and what came beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from blueprint.files import write_atomic
from blueprint.interop import record as records
from blueprint.interop.config import NAME, Config
from blueprint.interop.import_ import Progress
from blueprint.interop.live import TORCH
from blueprint.interop.moves import Moves
from blueprint.interop.safetensors_io import open_checkpoint
from blueprint.interop.safetensors_out import Out, sharded, shards
from blueprint.interop.subject import Origin, Subject
from blueprint.interop.transfer import Sinks, move_out
from blueprint.kinds import Tokenizer

#: Where a config says the number format of its weights.
_FORMAT_FIELDS = ("dtype", "torch_dtype")


def files_of(
    subject: Subject, moves: Moves, origin: Origin | None
) -> tuple[dict[str, list[Out]], dict[str, list[str]], dict[str, dict[str, str]]]:
    """The files to write, under which names each tensor of theirs is wanted, and the files' metadata."""
    made: dict[str, Out] = {}
    for move in moves.moves:
        dtype = subject.tensors[move.ours[0]].dtype
        for each in move.theirs:
            shape = each.shape if each.stacked is None else each.shape[1:]
            made.update({name: Out(name, dtype, shape) for name in each.names})
    if origin is None:
        return shards(list(made.values())), {name: [name] for name in made}, {}
    record = origin.record
    wanted: dict[str, list[str]] = {name: [] for name in made}
    files = record.outs()
    for outs in files.values():
        for out in outs:
            source = made.get(out.name) or made.get(record.tied.get(out.name, ""))
            if source is not None:
                wanted[source.name].append(out.name)
                out.dtype = source.dtype
    if not all(wanted.values()):
        return shards(list(made.values())), {name: [name] for name in made}, {}
    return files, wanted, {name: said["metadata"] for name, said in record.files.items()}


def write_weights(
    subject: Subject,
    moves: Moves,
    files: Mapping[str, list[Out]],
    names: Mapping[str, list[str]],
    metadata: Mapping[str, Mapping[str, str]],
    origin: Origin | None,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Move every tensor into its files in a folder, and with them what an import had put aside."""
    total, done = sum(subject.tensors[name].nbytes for move in moves.moves for name in move.ours), 0
    with sharded(folder, files, metadata) as places:
        sink = Sinks(places, names)
        for move in moves.moves:
            move_out(move, subject.tensors, sink)
            done += sum(subject.tensors[name].nbytes for name in move.ours)
            if progress is not None:
                progress(done, total, move.ours[0])
        if origin is not None and origin.dropped is not None:
            dropped = open_checkpoint(origin.dropped).tensors
            for name in origin.record.dropped:
                places[name].put_stored(name, dropped[name])


def write_beside(folder: Path, config: Config, dtype: str | None, origin: Origin | None) -> None:
    """Write the config, and what came beside the weights."""
    if origin is not None:
        for path in records.beside(origin.beside):
            shutil.copyfile(path, folder / path.name)
        if format_of(origin.record.outs()) == dtype:
            return
    values = dict(config.plain)
    if dtype is not None:
        values[next((name for name in _FORMAT_FIELDS if name in values), _FORMAT_FIELDS[0])] = dtype
    write_atomic(folder / NAME, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_tokenizer(folder: Path, tokenizer: Tokenizer | None) -> None:
    """Write the files by which the transformers library opens the tokenizer, but those that came with an import."""
    if tokenizer is None or tokenizer.untrained:
        return
    found = tokenizer.exported()
    if not any((folder / name).exists() for name in found):
        for name, text in found.items():
            write_atomic(folder / name, text)


def format_of(files: Mapping[str, list[Out]]) -> str | None:
    """The number format of most of the weights, as a config says it."""
    sizes: dict[str, int] = {}
    for outs in files.values():
        for out in outs:
            if TORCH[out.dtype] in ("float16", "bfloat16", "float32", "float64"):
                sizes[TORCH[out.dtype]] = sizes.get(TORCH[out.dtype], 0) + out.nbytes
    return max(sizes, key=lambda name: sizes[name]) if sizes else None
