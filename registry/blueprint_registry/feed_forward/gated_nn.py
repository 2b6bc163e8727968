"""Gated linear unit. Shapes: `B` batch, `T` tokens, `D` model width, `F` hidden width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, Shards, cut, gate

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.feed_forward.gated import Gated


class GatedFeedForward(nn.Module):
    """down(norm(dropout(act(gate(x)) ⊙ (up(x) + offset)))), gate and up bounded first."""

    def __init__(self, said: Gated, at: Site) -> None:
        super().__init__()
        assert isinstance(said.d_ff, int) and not isinstance(said.up_offset, str), "not filled"
        self.gate = Linear(at.width, said.d_ff, bias=said.bias)
        self.up = Linear(at.width, said.d_ff, bias=said.bias)
        self.down = Linear(said.d_ff, at.width, bias=said.bias, role="residual")
        self.activation = said.activation.build(at.child("activation", width=said.d_ff))
        self.dropout = said.dropout
        self.clamp, self.up_offset = said.clamp, said.up_offset
        norm, site = said.inner_norm, at.child("inner_norm", width=said.d_ff)
        self.inner_norm = None if norm is None else norm.build(site)

    def shards(self) -> Shards | None:
        """By hidden units; None where a norm reads all of them at once, or the activation learns."""
        if self.inner_norm is not None or any(True for _ in self.activation.parameters()):
            return None
        return cut({"gate": self.gate, "up": self.up}, {"down": self.down}, self.down.in_features)

    def forward(self, x_BTD: Tensor, flow: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) to (B, T, D), and no terms."""
        gate_BTF, up_BTF = self.gate(x_BTD), self.up(x_BTD)
        if self.clamp is not None:
            gate_BTF, up_BTF = gate_BTF.clamp(max=self.clamp), up_BTF.clamp(-self.clamp, self.clamp)
        if self.up_offset:
            up_BTF = up_BTF + self.up_offset
        h_BTF = gate(self.activation, gate_BTF, up_BTF)
        if self.dropout:
            h_BTF = F.dropout(h_BTF, self.dropout, self.training)
        return self.down(h_BTF if self.inner_norm is None else self.inner_norm(h_BTF)), {}
