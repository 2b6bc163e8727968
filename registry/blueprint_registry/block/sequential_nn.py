"""The sequential block, computed.

B batch, T tokens, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.block.common_nn import MixerBlock, merged
from blueprint_registry.block.sequential import PLACEMENTS

if TYPE_CHECKING:
    from blueprint_registry.block.sequential import Sequential


class SequentialBlock(MixerBlock):
    """`(x_BTD, flow, state=None) -> (x_BTD, terms)` (Vaswani et al., 2017, §3.1)."""

    def __init__(self, said: Sequential, at: Site) -> None:
        super().__init__(said, at)
        self.placement, self.dropout = PLACEMENTS[said.placement], said.dropout
        self.from_normed = said.residual_from == "normed"

    def forward(self, x_BTD: Tensor, flow: Flow, state: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The attention, then the feed-forward."""
        terms: dict[str, Tensor] = {}
        if self.attention is not None:
            n_BTD = self._into("attention", x_BTD)
            y_BTD, terms = self.attention(n_BTD, flow, state)
            x_BTD = self._onto("attention", n_BTD if self.from_normed else x_BTD, y_BTD)
        if self.feed_forward is not None:
            n_BTD = self._into("feed_forward", x_BTD)
            y_BTD, more = self.feed_forward(n_BTD, flow)
            x_BTD = self._onto("feed_forward", n_BTD if self.from_normed else x_BTD, y_BTD)
            terms = merged(terms, more)
        return x_BTD, terms

    def _into(self, sublayer: str, x_BTD: Tensor) -> Tensor:
        """What the sublayer is given of the stream `x`."""
        return self._norm(sublayer, self.placement.before, x_BTD)

    def _onto(self, sublayer: str, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream once the sublayer's output `y` has joined it."""
        y_BTD = self._norm(sublayer, self.placement.within, y_BTD)
        if self.dropout and self.training:
            y_BTD = F.dropout(y_BTD, self.dropout)
        x_BTD = getattr(self, f"{sublayer}_residual")(x_BTD, y_BTD)
        return self._norm(sublayer, self.placement.after, x_BTD)

    def _norm(self, sublayer: str, ending: str, x_BTD: Tensor) -> Tensor:
        """`x` normalised, where the placement has a norm there and it was not left out."""
        norm = getattr(self, f"{sublayer}_{ending}", None) if ending else None
        return x_BTD if norm is None else norm(x_BTD)
