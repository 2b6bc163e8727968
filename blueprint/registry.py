"""Finding components: a name spoken in a spec leads to the file called that, and only that file is imported.

Packages arrive through the entry-point group `blueprint.components`; each is a folder of kinds, each kind a folder of
files, the file's name being the component's. The components that ship come through the same door as a user's.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import blueprint.kinds  # noqa: F401  (the engine's kinds must exist before a member is looked up)
from blueprint.component import KINDS, MEMBERS, Component, place
from blueprint.diagnosis import nearest

GROUP = "blueprint.components"
#: The engine's own components that are imported, like any other, only where they are named: modules by kind and name.
OWN = {
    "model": {"encoder_decoder": "blueprint.schema.encoder_decoder", "dual_encoder": "blueprint.schema.towers"},
}


class UnknownComponent(ValueError):
    """No component of that kind has that name; `suggestion` is the nearest."""

    def __init__(self, kind: str, name: str) -> None:
        known = names(kind)
        self.suggestion = nearest(name, known)
        meant = f"; did you mean `{self.suggestion}`?" if self.suggestion else ""
        super().__init__(f"no {kind} is called `{name}`{meant} (there are: {', '.join(known)})")


class PluginError(ValueError):
    """A plugin that cannot be loaded."""


@cache
def packages() -> tuple[tuple[str, Path], ...]:
    """The component packages installed, as (module name, folder), without importing them."""
    found: dict[str, Path] = {}
    for point in entry_points(group=GROUP):
        spec = importlib.util.find_spec(point.value)
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(f"entry point `{point.name}` names the package `{point.value}`, which cannot be found")
        found[point.value] = Path(spec.submodule_search_locations[0])
    return tuple(found.items())


@cache
def files(kind: str) -> dict[str, list[str]]:
    """The importable modules of a kind by component name; nothing is imported."""
    out = {name: [module] for name, module in OWN.get(kind, {}).items()}
    for package, folder in packages():
        for path in sorted((folder / kind).glob("*.py")):
            if not path.stem.startswith("_") and not path.stem.endswith("_nn"):
                out.setdefault(path.stem, []).append(f"{package}.{kind}.{path.stem}")
    return out


def names(kind: str) -> list[str]:
    """Every name a slot of this kind admits."""
    return sorted({*files(kind), *(name for of, name in MEMBERS if of == kind)})


def kinds() -> list[str]:
    """Every kind there is, those declared by component packages included."""
    for package, folder in packages():
        for path in sorted(folder.iterdir()):
            if (path / "__init__.py").exists() and path.name not in KINDS:
                importlib.import_module(f"{package}.{path.name}")
    return sorted(KINDS)


def member(kind: str, name: str) -> type[Component]:
    """The component called `name` of `kind`; raises `UnknownComponent`, or ValueError where two files claim it."""
    modules = files(kind).get(name, [])
    for module in modules:
        importlib.import_module(module)
    if len(modules) > 1:
        raise ValueError(f"{kind} `{name}` is offered twice: by {' and by '.join(modules)}")
    found = MEMBERS.get((kind, name))
    if found is None:
        raise UnknownComponent(kind, name)
    return found


def members(kind: str) -> Iterator[type[Component]]:
    """Every component of a kind, imported, in the order of their names."""
    for name in names(kind):
        yield member(kind, name)


def load_plugin(reference: str, directory: Path | None = None) -> list[type[Component]]:
    """Import a user's component file (`./mine.py`, relative to `directory`) or module (`acme.attention`).

    Runs code: call it only where the user allowed it. Returns the classes it registered; loading one twice is
    harmless. Raises `PluginError` where it cannot be found, fails, or registers nothing.
    """
    key = _key(reference, directory)
    if key in _LOADED:
        return _LOADED[key]
    before = set(MEMBERS)
    try:
        if reference.endswith(".py"):
            _run_file(Path(key))
        else:
            importlib.import_module(reference)
        new = _own(set(MEMBERS) - before) or [cls for cls in MEMBERS.values() if _within(cls, reference)]
        if not new:
            raise PluginError(f"plugin `{reference}` registers no component: decorate a class with @register(name)")
        for cls in new:
            if files(cls.kind).get(cls.spec_name):
                del MEMBERS[cls.kind, cls.spec_name]
                places = f"in {place(member(cls.kind, cls.spec_name))} and in {place(cls)}"
                raise PluginError(f"{cls.kind} `{cls.spec_name}` is registered twice: {places}")
    except BaseException as error:
        # What half a plugin registered is not there: it may be mended and loaded again.
        for cls in _own(set(MEMBERS) - before):
            del MEMBERS[cls.kind, cls.spec_name]
        if isinstance(error, PluginError) or not isinstance(error, Exception):
            raise
        # Whatever a user's code raises is a mistake of that code, and is named.
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == key]
        where = f" at line {lines[-1]}" if lines else ""
        raise PluginError(f"plugin `{reference}` failed to load{where}: {type(error).__name__}: {error}") from error
    _LOADED[key] = new
    return new


def _own(keys: Iterable[tuple[str, str]]) -> list[type[Component]]:
    """The components of a plugin's own among those that came with it, in order: what ships may have been imported."""
    found = (MEMBERS[key] for key in sorted(keys))
    return [cls for cls in found if cls.__module__ not in files(cls.kind).get(cls.spec_name, [])]


def _within(cls: type, module: str) -> bool:
    """Whether a class is defined in a module, or below it."""
    return f"{cls.__module__}.".startswith(f"{module}.")


_LOADED: dict[str, list[type[Component]]] = {}


def _key(reference: str, directory: Path | None) -> str:
    if not reference.endswith(".py"):
        return reference
    return str(((directory or Path.cwd()) / reference).resolve())


def _run_file(path: Path) -> None:
    if not path.is_file():
        raise PluginError(f"plugin file {path} does not exist")
    name = f"blueprint_plugin_{path.stem}_{zlib.crc32(str(path).encode()):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered first, so that pydantic can resolve the module's annotations.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
