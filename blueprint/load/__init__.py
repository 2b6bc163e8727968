"""From text to a `Spec`: reading with positions, one merge, interpolation, plugins, then validation, all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blueprint.diagnosis import SpecError
from blueprint.load.document import document
from blueprint.schema.shape import Shape
from blueprint.schema.spec import Spec
from blueprint.schema.validate import validate

__all__ = ["load", "loads"]

ROOT = Shape("section", Spec, cls=Spec)


def load(
    spec: str | Path | Mapping[str, Any] | Spec, overrides: Sequence[str] = (), *, allow_plugins: bool = False
) -> Spec:
    """Read a spec from a file (or a dict), with overrides such as `model.layers=2`.

    Components of the user's own, named under `plugins`, are imported only with `allow_plugins=True`. Raises `SpecError`
    with every problem at once.
    """
    if isinstance(spec, Spec):
        if not overrides:
            return spec
        spec = {**spec.to_plain(), "plugins": list(spec.plugins)}
    return _load(spec, overrides, allow_plugins, text=False)


def loads(text: str, overrides: Sequence[str] = (), *, allow_plugins: bool = False) -> Spec:
    """Read a spec from a string of YAML; otherwise as `load`."""
    return _load(text, overrides, allow_plugins, text=True)


def _load(spec: Any, overrides: Sequence[str], allow_plugins: bool, *, text: bool) -> Spec:
    read = document(spec, text=text, overrides=overrides, allow_plugins=allow_plugins, root_shape=ROOT)
    value, problems = validate(read.root, Spec, read.broken)
    if value is None or read.problems or problems:
        raise SpecError([*read.problems, *problems])
    value._root = read.root
    value._plugins = tuple(read.plugins)
    return value
