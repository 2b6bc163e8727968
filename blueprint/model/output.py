"""What a model's forward gives, and what it keeps between the steps of a decoding.

B batch, T tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Embedding, Flow


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
    """The states of all layers, and how many tokens each sequence has seen.

    `steady(length)` tells up to how many tokens what is kept of `length` stays exact (None: for ever), where a part of
    the model follows the sequence's length.
    """

    def __init__(self, layers: list[Any], steady: Callable[[int], int | None] | None = None) -> None:
        self.layers = layers
        self.seen: int | Tensor = 0
        self._steady = None if steady is None or steady(1) is None else steady

    @property
    def nbytes(self) -> int:
        """Bytes held, over all layers."""
        return sum(layer.nbytes for layer in self.layers if layer is not None)

    def rewind(self, n: int | Tensor) -> None:
        """Forget the last n tokens.

        Raises ValueError where a ring buffer no longer holds what that needs, or what was kept followed the length.
        """
        if not self._exact(self.seen - n, self.seen):
            raise ValueError(f"cannot take back {n} tokens: rotations followed the length, begin a new state")
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

    def holds(self, count: int = 1) -> bool:
        """Whether what is kept stays exact for `count` more tokens in every row."""
        return self._exact(self.seen, self.seen + count)

    def check(self, flow: Flow) -> None:
        """Raise ValueError where the tokens of `flow` make sequences too long for what is kept of them."""
        if not self._exact(self.seen, flow.seen):
            raise ValueError(
                "the state no longer holds: rotations follow the length and have changed; run the whole sequence "
                "with a new state (the model's `steady(length)` tells up to how many tokens one lasts)"
            )

    def _exact(self, few: int | Tensor, many: int | Tensor) -> bool:
        """Whether what is kept of the first `few` tokens of a row is the same among its first `many`."""
        if self._steady is None:
            return True
        rows = torch.broadcast_tensors(torch.as_tensor(few), torch.as_tensor(many))
        pairs = zip(*(counts.reshape(-1).tolist() for counts in rows), strict=True)
        return all(a == 0 or (end := self._steady(a)) is None or b <= end for a, b in set(pairs))

    def advance(self, flow: Flow) -> None:
        """Note that the tokens of `flow` have passed through every layer."""
        self.seen = flow.seen


def default_dtype(module: torch.nn.Module) -> torch.dtype:
    """The dtype a module computes in: its first floating parameter's, or what a table is read in that is kept wider."""
    for inner in module.modules():
        if isinstance(inner, Embedding) and inner.reads is not None:
            return inner.reads
        for parameter in inner.parameters(recurse=False):
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.get_default_dtype()
