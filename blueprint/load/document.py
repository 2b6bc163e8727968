"""The way of a spec before it is validated: read, migrate, plugins, extends, overrides, interpolate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blueprint.diagnosis import Problem, SpecError
from blueprint.load import overrides as overriding
from blueprint.load.dump import dump
from blueprint.load.extends import File, Gathering, joined
from blueprint.load.interpolate import interpolate
from blueprint.load.plugins import load_plugins
from blueprint.load.reader import scan, source_of
from blueprint.schema.shape import Shape
from blueprint.tree import Map, Source, Span


@dataclass(frozen=True)
class Document:
    """A spec with everything in it that is written somewhere, and nothing yet judged.

    `problems` were found on the way and did not stop it; `files` are all that were read; `plugins` are to be imported
    wherever the spec is used; `broken` are the leaves whose `${…}` failed and whose text still stands there.
    """

    root: Map
    problems: list[Problem] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    broken: frozenset[tuple[str, ...]] = frozenset()


def document(
    spec: str | Path | Mapping[str, Any],
    *,
    text: bool = False,
    overrides: Sequence[str] = (),
    allow_plugins: bool = False,
    root_shape: Shape | None = None,
) -> Document:
    """Read a spec from a path (or `blueprint:papers/gpt2.yaml`), from YAML itself (`text=True`), or from a dict.

    Raises `SpecError` with everything found so far where nothing sensible can follow: text that is no YAML, a file
    that is missing, a newer version, a plugin that is not allowed or fails.
    """
    gathering = Gathering()
    read = isinstance(spec, Mapping) or text
    file = _from_text(spec, gathering) if read else gathering.file(str(spec))
    if file is None or not gathering.whole:
        raise SpecError(gathering.problems)
    plugins, refused = load_plugins(file.all_plugins(), allow_plugins)
    root = joined(file, root_shape)
    said = [overrides] if isinstance(overrides, str) else list(overrides)
    root, malformed = overriding.apply(root, said, root_shape)
    resolved = interpolate(root)
    problems = [*gathering.problems, *refused, *malformed, *resolved.problems]
    if refused:
        # Judged without its plugins, a spec would be full of unknown types.
        raise SpecError(problems)
    return Document(resolved.root, problems, gathering.paths, plugins, resolved.broken)


def _from_text(spec: Any, gathering: Gathering) -> File | None:
    name = "<dict>" if isinstance(spec, Mapping) else "<string>"
    try:
        text = dump(spec) if isinstance(spec, Mapping) else str(spec)
    except (TypeError, ValueError) as error:
        raise SpecError([Problem("not-a-spec", str(error), span=Span(Source(name)))]) from None
    if not text.strip():
        raise SpecError([Problem("empty", "the text is empty; a spec has at least `model:`", span=Span(Source(name)))])
    reading = scan(text, source_of(text, name))
    gathering.problems += reading.problems
    return gathering.text(reading, name)
