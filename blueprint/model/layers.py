"""The layers of a stack as modules, and a forward through them.

B batch, T tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from blueprint.ops import Flow, merge_terms
from blueprint.plan import PlanLayer


def built_layers(stack: Iterable[PlanLayer]) -> nn.ModuleList:
    """The modules of a stack's layers, in order."""
    stack, made = tuple(stack), {}
    for layer in stack:
        # Layers that share weights are one module; each still decodes with a state of its own.
        if layer.weights_of == layer.site.layer:
            made[layer.site.layer] = layer.block.build(layer.site)
    return nn.ModuleList(made[layer.weights_of] for layer in stack)


def through(
    layers: Iterable[nn.Module], x_BTD: Tensor, flow: Flow, states: Sequence[Any] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The stream after the last layer, with the terms of all of them."""
    terms: dict[str, Tensor] = {}
    for index, layer in enumerate(layers):
        x_BTD, found = layer(x_BTD, flow, None if states is None else states[index])
        if found:
            merge_terms(terms, found)
    return x_BTD, terms


def blocks_of(model: nn.Module) -> Iterator[tuple[int, nn.Module]]:
    """The blocks of every stack of a model, each once, with its place in its stack."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if kind_of(module) == "block" and last.isdigit():
            yield int(last), module


def kind_of(module: nn.Module) -> str | None:
    """The kind of the component that a module was built by."""
    part = getattr(module, "blueprint_part", None)
    return None if part is None else part[0]
