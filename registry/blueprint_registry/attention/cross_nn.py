"""Multi-head attention over a memory, computed.

B batch, T tokens, S tokens of the memory, D model width, H heads, G heads of keys and values, E width of a head,
V width of a head's values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Flow, Keys, Memory, MemoryState, attend
from blueprint_registry.attention.multi_head_nn import MultiHeadAttention


class CrossAttention(MultiHeadAttention):
    """`(x_BTD, flow, state=None) -> (x_BTD, {})`: queries of the tokens, keys and values of `flow.memory` (Vaswani et
    al., 2017, §3.2.3). With a state, the memory's keys and values are computed at its first use and stand from then on.
    """

    @property
    def incremental(self) -> bool:
        """It decodes step by step: what it reads does not grow."""
        return True

    def steady(self, length: int) -> int | None:
        """What it keeps never changes."""
        return None

    def new_state(  # type: ignore[override]
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> MemoryState:
        """Empty; what it will hold follows from the memory."""
        return MemoryState()

    def forward(self, x_BTD: Tensor, flow: Flow, state: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Each token gathers values from the whole memory, its padding excepted.

        Raises ValueError where there is no memory, neither in the flow nor in the state.
        """
        keys = self.read(flow) if state is None or state.keys is None else state.keys
        if state is not None and state.keys is None:
            state.hold(keys)
        q_BTHE = self._bounded("q_norm", self.q(x_BTD).unflatten(-1, (-1, self.head_dim)))
        o_BHTV = attend(
            q_BTHE.transpose(1, 2),
            keys,
            flow=flow,
            visible=self.visible,
            scale=self.scale,
            softcap=self.softcap,
            sink_H=self.sinks,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend if state is None else None,
            float32=self.float32,
        )
        y_BTD: Tensor = self.o(self._gathered(o_BHTV, x_BTD))
        return y_BTD, {}

    def read(self, flow: Flow) -> Keys:
        """Keys (B, G, S, E) and values (B, G, S, V) of the memory."""
        memory: Memory | None = flow.memory
        if memory is None:
            raise ValueError("there is no memory to read: hand the model a source, or a state that has seen one")
        k_BSGE = self._bounded("k_norm", self.k(memory.x_BSD).unflatten(-1, (-1, self.head_dim)))
        v_BSGV = self.v(memory.x_BSD).unflatten(-1, (-1, self.value_dim))
        if self.clip is not None:
            v_BSGV = v_BSGV.clamp(-self.clip, self.clip)
        if self.value_scale != 1:
            v_BSGV = v_BSGV * self.value_scale
        return memory.keys(k_BSGE.transpose(1, 2), v_BSGV.transpose(1, 2))

    def _bounded(self, norm: str, x_BTHE: Tensor) -> Tensor:
        """Queries or keys normalised and clipped, in the order that was said; no position comes between."""
        if self.normed == "before":
            x_BTHE = self._norm(getattr(self, norm), x_BTHE)
        if self.clip is not None:
            x_BTHE = x_BTHE.clamp(-self.clip, self.clip)
        return self._norm(getattr(self, norm), x_BTHE) if self.normed == "after" else x_BTHE
