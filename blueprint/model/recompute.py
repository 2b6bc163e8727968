"""Which parts of a model compute again what they would else keep for the backward."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from blueprint.model.layers import blocks_of, kind_of
from blueprint.ops import recomputed
from blueprint.schema.learning import Recompute


def recompute(model: nn.Module, said: Recompute | None) -> None:
    """Let the parts of a model's layers that the spec says compute again; names and weights stay as they are."""
    if said is None:
        return
    for index, block in blocks_of(model):
        for part in _outermost(block, said.part) if index % said.every == 0 else ():
            part.forward = recomputed(part.forward)


def _outermost(module: nn.Module, kind: str) -> Iterator[nn.Module]:
    """The parts of a kind in a module, itself included, that are in no other such part."""
    if kind_of(module) == kind:
        yield module
        return
    for inner in module.children():
        yield from _outermost(inner, kind)
