"""A learned query. Shapes: `B` batch, `T` tokens, `S` keys, `D` model width, `H` heads, `E` width of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Embedding, Flow, Keys, Linear, attend, merge_terms
from blueprint.visible import Visible

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.pool.attention import Attention


class AttentionPool(nn.Module):
    """y = attend(query, x), then y + feed_forward(norm(y)), whose terms go with the flow."""

    def __init__(self, said: Attention, at: Site) -> None:
        super().__init__()
        self.heads = said.heads
        self.query = Embedding(1, at.width)
        self.q, self.k, self.v = (Linear(at.width, at.width, said.bias) for _ in "qkv")
        self.o = Linear(at.width, at.width, said.bias)
        parts = {name: part.build(site) for name, part, site in said.parts(at)}
        self.norm, self.feed_forward = parts.get("norm"), parts.get("feed_forward")
        self.float32 = at.float32 is None or "softmax" in at.float32

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        batch, length, _ = x_BTD.shape
        whole = Flow.of(batch, length, x_BTD.device) if flow is None else flow
        one = Flow.of(batch, 1, x_BTD.device)
        q_1D: Tensor = self.q(self.query.weight)
        q_BHTE = self._split(q_1D.expand(batch, 1, -1))
        keys = Keys(
            self._split(self.k(x_BTD)),
            self._split(self.v(x_BTD)),
            whole.order_BT,
            whole.order_BT,
            keep_BS=whole.keep_BT,
            plain=whole.keep_BT is None,
        )
        scale = q_BHTE.shape[-1] ** -0.5
        o_BHTE = attend(q_BHTE, keys, flow=one, visible=Visible(), scale=scale, float32=self.float32)
        y_BTD: Tensor = self.o(o_BHTE.transpose(1, 2).flatten(2))
        if self.feed_forward is not None:
            z_BTD: Tensor
            z_BTD, terms = self.feed_forward(y_BTD if self.norm is None else self.norm(y_BTD), one)
            merge_terms(whole.terms, terms)
            y_BTD = y_BTD + z_BTD
        y_BD: Tensor = y_BTD[:, 0]
        return y_BD

    def _split(self, x_BTD: Tensor) -> Tensor:
        """All heads side by side as (B, H, T, E)."""
        x_BHTE: Tensor = x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return x_BHTE
