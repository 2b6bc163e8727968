"""Multi-head latent attention, computed.

B batch, T tokens, S keys of G heads, D model width, H heads, C width of the latent vector of keys and values, P width
of the part of a head that positions turn, N width of the other part, E = N + P, L = C + P what a token keeps, V width
of a head's values, X = N + V.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.ops import Flow, Keys, KVState, Linear, Shards, attend, cut, steady
from blueprint_registry.attention._temperature_nn import sharpened

if TYPE_CHECKING:
    from blueprint_registry.attention.latent import Latent


class LatentAttention(nn.Module):
    """`(x_BTD, flow, state=None) -> (x_BTD, {})` (DeepSeek-AI, 2024, *DeepSeek-V2*, §2.1).

    Whole sequences make keys and values of every head. Against remembered tokens the projections are taken into the
    queries and out of what is gathered instead, so that the latent vectors are read as they are kept.
    """

    position: Any

    def __init__(self, said: Latent, at: Site) -> None:
        super().__init__()
        assert not isinstance(said.scale, str), "not filled"
        self.heads, self.rank, self.value_dim = said.heads, said.kv_rank, said.value_dim
        self.nope_dim, self.rope_dim, self.temperature = said.nope_dim, said.rope_dim, said.temperature
        self.visible, self.dropout, self.backend = said.visible(at), said.dropout, said.forced
        self.float32 = at.float32 is None or "softmax" in at.float32
        norms = {name: said.latent_norm.build(site) for name, site in said.norm_sites(at).items()}
        width = said.heads * (said.nope_dim + said.rope_dim)
        if said.q_rank is None:
            self.q = Linear(at.width, width, bias=False)
        else:
            self.q_down = Linear(at.width, said.q_rank, said.bias)
            self.q_norm = norms["q_norm"]
            self.q_up = Linear(said.q_rank, width, bias=False)
        self.kv_down = Linear(at.width, said.kv_rank + said.rope_dim, said.bias)
        self.kv_norm = norms["kv_norm"]
        self.kv_up = Linear(said.kv_rank, said.heads * (said.nope_dim + said.value_dim), bias=False)
        self.o = Linear(said.heads * said.value_dim, at.width, said.bias, role="residual")
        self.position = said.position.build(said.inside(at).child("position"))
        self.rotates, self.biases = hasattr(self.position, "rotate"), hasattr(self.position, "bias")
        self.scale = float(said.scale) * float(getattr(self.position, "sharpness", 1.0))

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
        """Room for the latent vectors and turned keys of `length` tokens, or of as many as the mask looks back on.

        Raises ValueError where queries see later keys.
        """
        if not self.incremental:
            raise ValueError(f"attention that sees later tokens ({self.visible.describe()}) cannot decode step by step")
        kept = self.rank + self.rope_dim
        # One head of keys; values are the same numbers, and kept once.
        return KVState(batch, 1, length, kept, 0, visible=self.visible, dtype=dtype, device=device)

    def shards(self) -> Shards | None:
        """By heads, what comes before them whole; None where positions add to the scores of all heads at once."""
        if self.biases:
            return None
        queries = {"q": self.q} if hasattr(self, "q") else {"q_up": self.q_up}
        return cut({**queries, "kv_up": self.kv_up}, {"o": self.o}, self.heads)

    def forward(self, x_BTD: Tensor, flow: Flow, state: KVState | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Each token gathers values from those it sees; with a state, from tokens of earlier forwards too."""
        q_BTD = self.q(x_BTD) if hasattr(self, "q") else self.q_up(self.q_norm(self.q_down(x_BTD)))
        q_BHTE = q_BTD.unflatten(-1, (-1, self.nope_dim + self.rope_dim)).transpose(1, 2)
        if self.temperature is not None:
            q_BHTE = sharpened(q_BHTE, self.temperature, flow.position_BT)
        q_BHTN, q_BHTP = q_BHTE.split((self.nope_dim, self.rope_dim), -1)
        latent_BTC, k_BTP = self.kv_down(x_BTD).split((self.rank, self.rope_dim), -1)
        latent_BTC, k_B1TP = self.kv_norm(latent_BTC), k_BTP[:, None]
        if self.rotates:
            q_BHTP = self.position.rotate(q_BHTP, flow.position_BT)
            k_B1TP = self.position.rotate(k_B1TP, flow.position_BT)
        keys = None
        if state is not None:
            kept_B1TL = torch.cat((latent_BTC[:, None], k_B1TP), -1)
            keys = state.append(kept_B1TL, kept_B1TL[..., :0], flow)
        if keys is None or keys.fresh:
            o_BHTV = self._expanded(q_BHTN, q_BHTP, latent_BTC, k_B1TP, flow, state)
        else:
            o_BHTV = self._absorbed(q_BHTN, q_BHTP, keys, flow)
        y_BTD: Tensor = self.o(o_BHTV.transpose(1, 2).flatten(2))
        return y_BTD, {}

    def _expanded(
        self, q_BHTN: Tensor, q_BHTP: Tensor, latent_BTC: Tensor, k_B1TP: Tensor, flow: Flow, state: KVState | None
    ) -> Tensor:
        """Attention among this forward's own tokens, with keys and values of every head (eq. 9 to 19)."""
        both_BHTX = self.kv_up(latent_BTC).unflatten(-1, (-1, self.nope_dim + self.value_dim)).transpose(1, 2)
        k_BHTN, v_BHTV = both_BHTX.split((self.nope_dim, self.value_dim), -1)
        k_BHTE = torch.cat((k_BHTN, k_B1TP.expand(-1, k_BHTN.shape[1], -1, -1)), -1)
        backend = self.backend if state is None else None
        return self._attend(torch.cat((q_BHTN, q_BHTP), -1), Keys.of(k_BHTE, v_BHTV, flow), flow, backend)

    def _absorbed(self, q_BHTN: Tensor, q_BHTP: Tensor, keys: Keys, flow: Flow) -> Tensor:
        """Attention to what is kept: q · (W_k c) is (W_kᵀ q) · c, and the mean of W_v c is W_v times the mean of c."""
        w_HXC = self.kv_up.weight.unflatten(0, (self.heads, -1))
        w_HNC, w_HVC = w_HXC.split((self.nope_dim, self.value_dim), 1)
        q_BHTL = torch.cat((q_BHTN @ w_HNC.to(q_BHTN.dtype), q_BHTP), -1)
        # What is kept stands for the values whole: cutting off the turned keys would copy the rest for every step.
        keys.v_BGSV = keys.k_BGSE
        o_BHTC = self._attend(q_BHTL, keys, flow, None)[..., : self.rank]
        o_BHTV: Tensor = o_BHTC @ w_HVC.to(o_BHTC.dtype).transpose(-1, -2)
        return o_BHTV

    def _attend(self, q_BHTE: Tensor, keys: Keys, flow: Flow, backend: str | None) -> Tensor:
        return attend(
            q_BHTE,
            keys,
            flow=flow,
            visible=self.visible,
            scale=self.scale,
            bias=self.position.bias if self.biases else None,
            dropout=self.dropout if self.training else 0.0,
            backend=backend,
            float32=self.float32,
        )
