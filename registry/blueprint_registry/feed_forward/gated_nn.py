"""Gated linear unit. Shapes: `B` batch, `T` tokens, `D` model width, `F` hidden width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Flow, Linear

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.feed_forward.gated import Gated


class GatedFeedForward(nn.Module):
    """down(dropout(act(gate(x)) ⊙ up(x)))."""

    def __init__(self, said: Gated, at: Site) -> None:
        super().__init__()
        assert isinstance(said.d_ff, int)
        self.gate = Linear(at.width, said.d_ff, bias=said.bias)
        self.up = Linear(at.width, said.d_ff, bias=said.bias)
        self.down = Linear(said.d_ff, at.width, bias=said.bias, role="residual")
        self.activation = said.activation.build(at.child("activation", width=said.d_ff))
        self.dropout = said.dropout

    def forward(self, x_BTD: Tensor, flow: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) to (B, T, D), and no terms."""
        h_BTF = self.activation(self.gate(x_BTD)) * self.up(x_BTD)
        if self.dropout:
            h_BTF = F.dropout(h_BTF, self.dropout, self.training)
        return self.down(h_BTF), {}
