"""Files that a spec cannot do without, such as a tokenizer's: runs, builds and checkpoints carry copies. No Lightning
here.

A run or build folder has the copy beside its spec.yaml, which names it there; a checkpoint has the text inside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueprint.files import write_atomic
from blueprint.schema.spec import Spec
from blueprint.training.data.cache import cache_folder
from blueprint.training.error import RestoreError
from blueprint.training.folder import plain_spec


def kept(spec: Spec) -> Iterator[tuple[str, Path]]:
    """The fields of the tokenizer that name such files, and the files; before it is trained there may be none."""
    for name in spec.tokenizer.kept if spec.tokenizer is not None else ():
        said = getattr(spec.tokenizer, name)
        if said is not None:
            yield name, Path(said).expanduser()


def copied(spec: Spec, folder: Path) -> dict[str, Any]:
    """Put copies of the files into a folder; the spec as plain values that, read from a file there, names them.

    A spec that was read from the folder itself is left as it is. Raises OSError where a file is gone.
    """
    plain = plain_spec(spec)
    for name, path in kept(spec):
        target = folder / (f"tokenizer{path.suffix}" if name == "path" else f"tokenizer_{name}{path.suffix}")
        data = path.read_bytes()
        if not target.is_file() or target.read_bytes() != data:
            write_atomic(target, data)
        plain["tokenizer"][name] = target.name
    return plain


def texts(spec: Spec) -> dict[str, str | bytes]:
    """The files' texts by the field that names them, for a checkpoint; of one that is no text, its bytes."""
    return {name: _text(path.read_bytes()) for name, path in kept(spec)}


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def unpacked(plain: Mapping[str, Any], found: Mapping[str, str | bytes]) -> dict[str, Any]:
    """A checkpoint's spec whose files are there again: as they lay, or from the checkpoint's own texts.

    Raises `RestoreError` where a file is gone and the cache takes no copy.
    """
    out = dict(plain)
    for name, text in found.items():
        data = text if isinstance(text, bytes) else text.encode()
        path = Path(out["tokenizer"][name]).expanduser()
        if path.is_file() and path.read_bytes() == data:
            continue
        target = cache_folder() / "files" / f"{hashlib.blake2b(data, digest_size=16).hexdigest()}{path.suffix}"
        try:
            if not target.is_file() or target.read_bytes() != data:
                write_atomic(target, data)
        except OSError as error:
            raise RestoreError(
                f"the checkpoint's copy of {path.name} cannot be written to {target.parent} ({error}); "
                "set BLUEPRINT_CACHE to another folder"
            ) from error
        out["tokenizer"] = {**out["tokenizer"], name: str(target)}
    return out
