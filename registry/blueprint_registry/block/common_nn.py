"""What blocks have in common. Shapes: `B` batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from blueprint.component import Component, Site
from blueprint.ops import State, steady


class MixerBlock(nn.Module):
    """A block around at most one sequence mixer, called `attention`, whose state is the block's, unless a
    `cross_attention` has one too."""

    attention: Any
    cross_attention: Any
    feed_forward: nn.Module | None
    attention_norm: nn.Module | None
    feed_forward_norm: nn.Module | None

    def __init__(self, said: Component, at: Site) -> None:
        super().__init__()
        self.attention = self.feed_forward = self.attention_norm = self.feed_forward_norm = None
        self.cross_attention = None
        for _, part, site in said.parts(at):
            setattr(self, site.path.rpartition(".")[2], part.build(site))

    @property
    def incremental(self) -> bool:
        """Whether the block decodes step by step: whether its mixers do, if it has any, and its feed-forward does."""
        if not getattr(self.feed_forward, "incremental", True):
            return False
        mixers = (mixer for mixer in (self.attention, self.cross_attention) if mixer is not None)
        return all(getattr(mixer, "incremental", hasattr(mixer, "new_state")) for mixer in mixers)

    def steady(self, length: int) -> int | None:
        """Up to how many tokens what its mixers keep of `length` stays exact; None: for ever."""
        return steady((self.attention, self.cross_attention), length)

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The mixer's state, None without a mixer; beside a cross-attention, the states of both."""
        own = None if self.attention is None else self.attention.new_state(batch, length, dtype, device)
        if self.cross_attention is None:
            return own
        return BothStates(own, self.cross_attention.new_state(batch, length, dtype, device))


class BothStates:
    """What the two mixers of a block remember: of the sequence (None: nothing) and of the memory."""

    def __init__(self, own: State | None, across: State) -> None:
        self.own, self.across = own, across

    @property
    def nbytes(self) -> int:
        """The bytes of both."""
        return self.across.nbytes + (0 if self.own is None else self.own.nbytes)

    def rewind(self, n: int | Tensor) -> None:
        """Forget the last `n` tokens of every row."""
        if self.own is not None:
            self.own.rewind(n)
        self.across.rewind(n)

    def reorder(self, index_B: Tensor) -> None:
        """Take the rows at these indices, in this order."""
        if self.own is not None:
            self.own.reorder(index_B)
        self.across.reorder(index_B)


def merged(terms: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of two sublayers; what both name is added up."""
    if not (terms and more):
        return terms or more
    return {**terms, **{name: terms[name] + term if name in terms else term for name, term in more.items()}}
