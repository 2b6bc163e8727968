"""The sequential block, computed.

B batch, T tokens, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.block.common_nn import MixerBlock, merged
from blueprint_registry.block.sequential import PLACEMENTS, Placement

if TYPE_CHECKING:
    from blueprint_registry.block.sequential import Sequential


class SequentialBlock(MixerBlock):
    """`(x_BTD, flow, state=None) -> (x_BTD, terms)` (Vaswani et al., 2017, §3.1)."""

    attention_residual: nn.Module
    cross_attention_residual: nn.Module
    feed_forward_residual: nn.Module

    def __init__(self, said: Sequential, at: Site) -> None:
        super().__init__(said, at)
        self.dropout, self.from_normed = said.dropout, said.residual_from == "normed"
        # The norms that are there, by name, before, within and after each sublayer: found once, not for every token.
        self.norms = {
            name: Placement(*(norm if (norm := f"{name}_{end}") in self._modules else "" for end in ends))
            for name, ends in dict.fromkeys(said.sublayers, PLACEMENTS[said.placement]).items()
        }

    def forward(self, x_BTD: Tensor, flow: Flow, state: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The attention, that to the memory where there is one, then the feed-forward."""
        terms: dict[str, Tensor] = {}
        across = None
        if self.cross_attention is not None and state is not None:
            state, across = state.own, state.across
        if self.attention is not None:
            norms = self.norms["attention"]
            n_BTD = self._norm(norms.before, x_BTD)
            y_BTD, terms = self.attention(n_BTD, flow, state)
            x_BTD = self._onto(norms, self.attention_residual, n_BTD if self.from_normed else x_BTD, y_BTD)
        if self.cross_attention is not None:
            norms = self.norms["cross_attention"]
            n_BTD = self._norm(norms.before, x_BTD)
            y_BTD, more = self.cross_attention(n_BTD, flow, across)
            x_BTD = self._onto(norms, self.cross_attention_residual, n_BTD if self.from_normed else x_BTD, y_BTD)
            terms = merged(terms, more)
        if self.feed_forward is not None:
            norms = self.norms["feed_forward"]
            n_BTD = self._norm(norms.before, x_BTD)
            y_BTD, more = self.feed_forward(n_BTD, flow)
            x_BTD = self._onto(norms, self.feed_forward_residual, n_BTD if self.from_normed else x_BTD, y_BTD)
            terms = merged(terms, more)
        return x_BTD, terms

    def _onto(self, norms: Placement, residual: nn.Module, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream `x` once the sublayer's output `y` has joined it."""
        y_BTD = self._norm(norms.within, y_BTD)
        if self.dropout and self.training:
            y_BTD = F.dropout(y_BTD, self.dropout)
        return self._norm(norms.after, residual(x_BTD, y_BTD))

    def _norm(self, name: str, x_BTD: Tensor) -> Tensor:
        """`x` normalised, where the placement has a norm there and it was not left out."""
        norm = getattr(self, name) if name else None
        return x_BTD if norm is None else norm(x_BTD)
