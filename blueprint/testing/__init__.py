"""The contract every component keeps, as one public test: `contract(kind, name)`.

The component is put into the smallest spec that has a place for it, and the whole model is held to the promises of
the engine: what decodes step by step agrees with what does not, the future changes nothing before it, padding is
nothing, every parameter learns. A component of one's own is tested the same way: `load_plugin`, then `contract`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.registry import member
from blueprint.testing.checks import CHECKS, EVERY, MODEL
from blueprint.testing.tiny import Case, tiny

__all__ = ["Case", "ContractError", "contract", "tiny"]


class ContractError(AssertionError):
    """A component breaks the contract; the text lists every promise broken."""


def contract(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> list[str]:
    """Hold the component `name` of `kind` to the contract; returns what was checked.

    `settings` are its fields; by default every one of its `examples()` is tried. Raises `ContractError` with every
    promise broken.
    """
    done: list[str] = []
    broken: list[str] = []
    for each in [settings] if settings is not None else member(kind, name).examples():
        case = Case(kind, name, each, tiny(kind, name, each))
        for check in (*EVERY, *CHECKS.get(kind, MODEL)):
            title = check.__name__.removeprefix("_").replace("_", " ")
            try:
                check(case)
                done.append(title)
            except Exception as error:  # whatever goes wrong is told, with the promise it breaks
                broken.append(f"- {title}, with {dict(each)}: {type(error).__name__}: {error}")
    if broken:
        raise ContractError(f"{kind} `{name}` breaks its contract:\n" + "\n".join(broken))
    return list(dict.fromkeys(done))
