"""Blueprint: the spec is the model.

A YAML spec becomes a plan, the plan a module, the module a trained model. Importing this package imports no torch;
each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blueprint.component import Component, Site, register
    from blueprint.cost import cost
    from blueprint.diagnosis import Problem, SpecError
    from blueprint.inference.generate import generate
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
    "fit",
    "generate",
    "load",
    "loads",
    "plan",
    "register",
    "restore",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blueprint' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    # Kept, so that a submodule of the same name (`plan`, `cost`) cannot take the function's place later.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
