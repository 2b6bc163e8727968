"""What a model's forward gives, and what it keeps between the steps of a decoding.

B batch, T tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Flow


@dataclass
class Output:
    """`logits` (B, T, V) or None where they were not asked for, `hidden` (B, T, D), and the `terms` of all parts, named
    scalars: losses where the name ends in `_loss`, else statistics.

    Of a dual encoder, `logits` are those of every image with every text (I, J), and `vectors` what they compare, of
    length 1, by side: `text` (J, P), `image` (I, P).
    """

    logits: Tensor | None
    hidden: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)


class ModelState:
    """The states of all layers, and how many tokens each sequence has seen."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.seen: int | Tensor = 0

    @property
    def nbytes(self) -> int:
        """Bytes held, over all layers."""
        return sum(layer.nbytes for layer in self.layers if layer is not None)

    def rewind(self, n: int | Tensor) -> None:
        """Forget the last n tokens; raises ValueError where a ring buffer no longer holds what that needs."""
        for layer in self.layers:
            if layer is not None:
                layer.rewind(n)
        self.seen = self.seen - n

    def reorder(self, index_B: Tensor) -> None:
        """Continue with the sequences at `index_B`, in that order (beam search, dropped rows)."""
        for layer in self.layers:
            if layer is not None:
                layer.reorder(index_B)
        if isinstance(self.seen, Tensor):
            self.seen = self.seen[index_B]

    def advance(self, flow: Flow) -> None:
        """Note that the tokens of `flow` have passed through every layer."""
        self.seen = flow.seen


def default_dtype(module: torch.nn.Module) -> torch.dtype:
    """The dtype a module computes in: its first floating parameter's."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
