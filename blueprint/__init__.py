"""Blueprint: the spec is the model.

A YAML spec becomes a plan, the plan a module, the module a trained model. Importing this package imports no torch;
each name below is fetched when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blueprint.component import Component, Site, register
    from blueprint.cost.cost import cost
    from blueprint.diagnosis import Problem, SpecError
    from blueprint.inference.generate import generate
    from blueprint.interop.export import export_hf
    from blueprint.interop.import_ import import_hf
    from blueprint.load import load, loads
    from blueprint.model.face import build
    from blueprint.plan import Plan, plan
    from blueprint.schema.spec import Spec
    from blueprint.training.module import compile
    from blueprint.training.restore import restore
    from blueprint.training.run import fit, resume

__version__ = "0.1.0"

_HOMES = {
    "Component": "blueprint.component",
    "Site": "blueprint.component",
    "register": "blueprint.component",
    "Problem": "blueprint.diagnosis",
    "SpecError": "blueprint.diagnosis",
    "Spec": "blueprint.schema.spec",
    "load": "blueprint.load",
    "loads": "blueprint.load",
    "Plan": "blueprint.plan",
    "plan": "blueprint.plan",
    "build": "blueprint.model.face",
    "cost": "blueprint.cost",
    "compile": "blueprint.training.module",
    "fit": "blueprint.training.run",
    "resume": "blueprint.training.run",
    "restore": "blueprint.training.restore",
    "generate": "blueprint.inference.generate",
    "import_hf": "blueprint.interop.import_",
    "export_hf": "blueprint.interop.export",
}

__all__ = [
    "Component",
    "Plan",
    "Problem",
    "Site",
    "Spec",
    "SpecError",
    "build",
    "compile",
    "cost",
    "export_hf",
    "fit",
    "generate",
    "import_hf",
    "load",
    "loads",
    "plan",
    "register",
    "restore",
    "resume",
]


class _Face(ModuleType):
    """This package, whose public names win over its submodules of the same name (`plan`, `load`, `cost`).

    Importing a submodule sets it as an attribute of its package; for a public name that is passed over, so that
    `blueprint.plan` is the function, whatever was imported before. `from blueprint.plan import …` is as ever.
    """

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


def _public(name: str) -> property:
    def get(face: ModuleType) -> Any:
        return getattr(import_module(_HOMES[name]), name)

    def keep(face: ModuleType, value: Any) -> None:
        if not isinstance(value, ModuleType):
            raise AttributeError(f"blueprint.{name} cannot be replaced")

    return property(get, keep)


for _name in _HOMES:
    setattr(_Face, _name, _public(_name))
sys.modules[__name__].__class__ = _Face
