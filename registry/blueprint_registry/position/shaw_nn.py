"""Shaw's relative positions.

B batch, T queries, S keys, H heads, G key-value heads, E head width, V value width, R vectors of distances, P heads
that have vectors of their own (H or 1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Embedding
from blueprint.ops.relative import against, gathered, pairs

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.shaw import Shaw


class ShawPosition(nn.Module):
    """Adds q · a to the scores and the weights' mean of b to what is gathered, a and b the vectors of distances."""

    def __init__(self, said: Shaw, at: Site) -> None:
        super().__init__()
        if at.heads is None or at.value_dim is None:
            raise ValueError("shaw stands inside an attention with heads")
        assert said.ahead is not None, "not filled"
        self.back, self.ahead, self.heads = said.back, said.ahead, at.heads if said.per_head else 1
        self.k = self._table(said, at, "k", at.width)
        if said.values:
            self.v = self._table(said, at, "v", at.value_dim)

    def _table(self, said: Shaw, at: Site, name: str, width: int) -> Embedding:
        """Vectors of distances −ahead … back, those of all heads in a row."""
        make = partial(Embedding, self.back + self.ahead + 1, self.heads * width)
        return at.once(name, said, make) if said.scope == "stack" else make()

    def _index(self, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        distance_BTS = q_position_BT.unsqueeze(-1) - k_position_BS.unsqueeze(-2)
        return distance_BTS.clamp(-self.ahead, self.back) + self.ahead

    def _vectors(self, table: Embedding) -> Tensor:
        """(P, R, E) or (P, R, V)."""
        vectors_RPE: Tensor = table.weight.unflatten(-1, (self.heads, -1))
        return vectors_RPE.transpose(0, 1)

    def score_bias(self, project_q: Callable[..., Tensor], project_k: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """What adds q · a to the scores (eq. 4)."""
        k_PRE = self._vectors(self.k)

        def added(q_BHTE: Tensor, k_BGSE: Tensor, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
            return pairs(against(q_BHTE, k_PRE.to(q_BHTE.dtype)), self._index(q_position_BT, k_position_BS))

        return added

    def value_bias(self, p_BHTS: Tensor, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        """What the weights (B, H, T, S) gather of b, (B, H, T, V) (eq. 3)."""
        v_PRV = self._vectors(self.v)
        p_BHTR = gathered(p_BHTS, self._index(q_position_BT, k_position_BS), v_PRV.shape[1])
        o_BHTV: Tensor = p_BHTR @ v_PRV.to(p_BHTS.dtype)
        return o_BHTV

    def extra_repr(self) -> str:
        """How far vectors reach, for printing."""
        return f"back={self.back}, ahead={self.ahead}"
