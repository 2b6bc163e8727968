"""The parallel block, computed.

B batch, T tokens, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.block.common_nn import MixerBlock, merged

if TYPE_CHECKING:
    from blueprint_registry.block.parallel import Parallel


class ParallelBlock(MixerBlock):
    """`(x_BTD, flow, state=None) -> (x_BTD, terms)` (Chowdhery et al., 2022, §2)."""

    feed_forward: nn.Module
    residual: nn.Module

    def __init__(self, said: Parallel, at: Site) -> None:
        super().__init__(said, at)
        self.dropout = said.dropout

    def forward(self, x_BTD: Tensor, flow: Flow, state: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Both sublayers at once."""
        n_BTD = x_BTD if self.attention_norm is None else self.attention_norm(x_BTD)
        a_BTD, terms = self.attention(n_BTD, flow, state)
        m_BTD = n_BTD if self.feed_forward_norm is None else self.feed_forward_norm(x_BTD)
        f_BTD, more = self.feed_forward(m_BTD, flow)
        if self.dropout and self.training:
            a_BTD, f_BTD = F.dropout(a_BTD, self.dropout), F.dropout(f_BTD, self.dropout)
        return self.residual(x_BTD, a_BTD + f_BTD), merged(terms, more)
