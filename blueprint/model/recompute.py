"""Which parts of a model compute again what they would else keep for the backward."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from blueprint.ops import recomputed
from blueprint.schema.spec import Recompute


def recompute(model: nn.Module, said: Recompute | None) -> None:
    """Let the parts of a model's layers that the spec says compute again; names and weights stay as they are."""
    for layer in _layers(model, said.every) if said is not None else ():
        assert said is not None
        for part in _outermost(layer, said.part):
            part.forward = recomputed(part.forward)


def _layers(model: nn.Module, every: int) -> Iterator[nn.Module]:
    """Every so many of the layers of each stack, its first among them."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if _kind(module) == "block" and last.isdigit() and int(last) % every == 0:
            yield module


def _outermost(module: nn.Module, kind: str) -> Iterator[nn.Module]:
    """The parts of a kind in a module, itself included, that are in no other such part."""
    if _kind(module) == kind:
        yield module
        return
    for inner in module.children():
        yield from _outermost(inner, kind)


def _kind(module: nn.Module) -> str | None:
    """The kind of the component that a module was built by."""
    part = getattr(module, "blueprint_part", None)
    return None if part is None else part[0]
