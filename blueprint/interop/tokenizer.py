"""The tokenizer that a checkpoint brings along, as a section of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.diagnosis import SpecError
from blueprint.kinds import Tokenizer
from blueprint.load import load
from blueprint.registry import members
from blueprint.schema.spec import Spec


def tokenizer_of(folder: Path, spec: Spec) -> dict[str, Any] | None:
    """What a spec says to use the tokenizer among the files of a folder, its path absolute.

    None where there is none that can be read, or where it writes ids that the model does not know.
    """
    for cls in members("tokenizer"):
        if not issubclass(cls, Tokenizer) or cls.reads is None:
            continue
        field, name = cls.reads
        said = {"type": cls.spec_name, field: str((folder / name).resolve())}
        if (folder / name).is_file() and _fits(spec, said):
            return said
    return None


def _fits(spec: Spec, said: Mapping[str, Any]) -> bool:
    try:
        load({**spec.to_plain(), "tokenizer": dict(said)})
    except SpecError:
        return False
    return True


def line(said: Mapping[str, Any], folder: Path) -> str:
    """The line of a spec in `folder` that says a tokenizer, whose file lies in there."""
    here = folder.resolve()
    rows = [
        f"{key}: {value if key == 'type' else Path(value).relative_to(here).as_posix()}" for key, value in said.items()
    ]
    return f"tokenizer: {{{', '.join(rows)}}}\n"
