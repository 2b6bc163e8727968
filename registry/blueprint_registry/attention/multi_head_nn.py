"""Multi-head attention, computed.

B batch, T tokens, D model width, H heads, G heads of keys and values, E width of a head, V width of a head's values,
C = H · V width of what all heads gather, N of their gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.ops import Flow, Keys, KVState, Linear, Shards, attend, cut, steady
from blueprint_registry.attention._temperature_nn import sharpened
from blueprint_registry.attention.each_head_nn import EachHead, each_head

if TYPE_CHECKING:
    from blueprint_registry.attention.multi_head import MultiHead


class MultiHeadAttention(nn.Module):
    """`(x_BTD, flow, state=None) -> (x_BTD, {})` (Vaswani et al., 2017, §3.2.2; Ainslie et al., 2023)."""

    position: Any
    q_norm: nn.Module
    k_norm: nn.Module

    def __init__(self, said: MultiHead, at: Site) -> None:
        super().__init__()
        assert said.kv_heads and said.head_dim and said.value_dim, "not filled"
        assert not isinstance(said.scale, str) and not isinstance(said.value_scale, str), "not filled"
        self.kv_heads, self.head_dim, self.value_dim = said.kv_heads, said.head_dim, said.value_dim
        self.visible = said.visible(at)
        self.scale, self.softcap = float(said.scale), said.softcap
        self.dropout, self.backend = said.dropout, said.forced
        self.clip, self.value_scale, self.temperature = said.clip, float(said.value_scale), said.temperature
        self.sinks = nn.Parameter(torch.zeros(said.heads)) if said.sinks else None
        self.float32 = at.float32 is None or "softmax" in at.float32
        bias = {name: name in said.biased for name in "qkvo"}
        self.q = Linear(at.width, said.heads * said.head_dim, bias["q"])
        self.k = Linear(at.width, said.kv_heads * said.head_dim, bias["k"])
        self.v = Linear(at.width, said.kv_heads * said.value_dim, bias["v"])
        self.o = Linear(said.heads * said.value_dim, at.width, bias["o"], role="residual")
        self.position = said.position.build(said.inside(at).child("position"))
        self.rotates, self.biases = hasattr(self.position, "rotate"), hasattr(self.position, "bias")
        self.scores, self.values = hasattr(self.position, "score_bias"), "values" in said.position.asks()
        self.normed: str | None = None
        self.flat = False
        if said.qk_norm is not None:
            self.normed, self.flat = said.qk_norm.when, said.qk_norm.over == "full"
            sites, norm = said.norm_sites(at), said.qk_norm.norm
            own = said.qk_norm.over == "heads"
            self.q_norm = each_head(norm, sites["q_norm"], said.heads) if own else norm.build(sites["q_norm"])
            self.k_norm = each_head(norm, sites["k_norm"], said.kv_heads) if own else norm.build(sites["k_norm"])

        sites = {name: site for name, _, site in said.parts(at)}
        self.inner_norm: Any = None if said.inner_norm is None else said.inner_norm.build(sites["inner_norm"])
        self.gate: Any = None
        if said.gate is not None:
            site = sites["gate.activation"]
            self.gate = Linear(at.width, site.width, said.gate.bias)
            self.gate_activation = said.gate.activation.build(site)

    @property
    def incremental(self) -> bool:
        """Whether it decodes step by step: no query sees a later key."""
        return self.visible.ahead == 0

    def steady(self, length: int) -> int | None:
        """Up to how many tokens the keys kept of `length` stay what they are; None: they never turn anew."""
        return steady((self.position,), length)

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> KVState:
        """Room for the keys and values of `length` tokens, or of as many as the mask looks back on.

        Raises ValueError where queries see later keys.
        """
        if not self.incremental:
            raise ValueError(f"attention that sees later tokens ({self.visible.describe()}) cannot decode step by step")
        widths = self.head_dim, self.value_dim
        return KVState(batch, self.kv_heads, length, *widths, visible=self.visible, dtype=dtype, device=device)

    def shards(self) -> Shards | None:
        """By heads of keys and values with their queries; None where something is told of all heads at once."""
        if self.flat or self.inner_norm is not None or self.biases or self.scores or self.values:
            return None
        gives = {"q": self.q, "k": self.k, "v": self.v} | ({} if self.gate is None else {"gate": self.gate})
        found = cut(gives, {"o": self.o}, self.kv_heads)
        each_head = {} if self.sinks is None else {"sinks": 0}
        for name in ("q_norm", "k_norm"):
            if isinstance(getattr(self, name, None), EachHead):
                each_head |= {f"{name}.{inner}": 0 for inner, _ in getattr(self, name).named_parameters()}
        return Shards({**found.axes, **each_head}, found.pieces, found.once)

    def forward(self, x_BTD: Tensor, flow: Flow, state: KVState | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Each token gathers values from those it sees; with a state, from tokens of earlier forwards too."""
        q_BTHE = self.q(x_BTD).unflatten(-1, (-1, self.head_dim))
        k_BTGE = self.k(x_BTD).unflatten(-1, (-1, self.head_dim))
        v_BGTV = self.v(x_BTD).unflatten(-1, (-1, self.value_dim)).transpose(1, 2)
        if self.normed == "before":
            q_BTHE, k_BTGE = self._norm(self.q_norm, q_BTHE), self._norm(self.k_norm, k_BTGE)
        if self.clip is not None:
            q_BTHE, k_BTGE, v_BGTV = (x.clamp(-self.clip, self.clip) for x in (q_BTHE, k_BTGE, v_BGTV))
        if self.value_scale != 1:
            v_BGTV = v_BGTV * self.value_scale
        q_BHTE, k_BGTE = q_BTHE.transpose(1, 2), k_BTGE.transpose(1, 2)
        if self.rotates:
            q_BHTE = self.position.rotate(q_BHTE, flow.position_BT)
            k_BGTE = self.position.rotate(k_BGTE, flow.position_BT)
        if self.normed == "after":
            q_BHTE = self._norm(self.q_norm, q_BHTE.transpose(1, 2)).transpose(1, 2)
            k_BGTE = self._norm(self.k_norm, k_BGTE.transpose(1, 2)).transpose(1, 2)
        if self.temperature is not None:
            q_BHTE = sharpened(q_BHTE, self.temperature, flow.position_BT)
        keys = Keys.of(k_BGTE, v_BGTV, flow) if state is None else state.append(k_BGTE, v_BGTV, flow)
        o_BHTV = attend(
            q_BHTE,
            keys,
            flow=flow,
            visible=self.visible,
            scale=self.scale,
            softcap=self.softcap,
            bias=self.position.bias if self.biases else None,
            content=self._content() if self.scores else None,
            values=self.position.value_bias if self.values else None,
            sink_H=self.sinks,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend if state is None else None,
            float32=self.float32,
        )
        y_BTD: Tensor = self.o(self._gathered(o_BHTV, x_BTD))
        return y_BTD, {}

    def _content(self) -> Any:
        """What the position adds to the scores of queries and keys that it is shown."""

        def heads(projection: nn.Module) -> Callable[[Tensor], Tensor]:
            return lambda x_ND: projection(x_ND).unflatten(-1, (-1, self.head_dim)).transpose(-3, -2)

        return self.position.score_bias(heads(self.q), heads(self.k))

    def _gathered(self, o_BHTV: Tensor, x_BTD: Tensor) -> Tensor:
        """What all heads gathered as one vector (B, T, C), normalised and gated."""
        o_BTC: Tensor = o_BHTV.transpose(1, 2).flatten(2)
        if self.inner_norm is not None:
            o_BTC = self.inner_norm(o_BTC)
        if self.gate is None:
            return o_BTC
        gate_BTN: Tensor = self.gate_activation(self.gate(x_BTD))  # one number for each of C, or each of H
        gated_BTHV: Tensor = o_BTC.unflatten(-1, (o_BHTV.shape[1], -1)) * gate_BTN.unflatten(-1, (o_BHTV.shape[1], -1))
        return gated_BTHV.flatten(2)

    def _norm(self, norm: nn.Module, x_BTHE: Tensor) -> Tensor:
        """`norm` of every head, or of all heads as one vector."""
        y_BTHE: Tensor = norm(x_BTHE.flatten(2)).reshape(x_BTHE.shape) if self.flat else norm(x_BTHE)
        return y_BTHE
