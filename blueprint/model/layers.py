"""The layers of a stack as modules, and a forward through them.

B batch, T tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
