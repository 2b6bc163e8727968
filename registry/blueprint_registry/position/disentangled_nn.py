"""DeBERTa's disentangled attention.

B batch, T queries, S keys, D model width, H heads, G key-value heads, E head width, R vectors of distances, N distances
told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Embedding, Linear
from blueprint.ops.relative import against, pairs

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.disentangled import Disentangled

Project = Callable[[Tensor], Tensor]


def bucket_of(distance_N: Tensor, buckets: int, max_distance: int) -> Tensor:
    """The bucket, −buckets … buckets, of each signed distance, query minus key (the rounding is DeBERTa's code's)."""
    near = buckets // 2
    far_N = distance_N.abs().clamp_min(near).float()
    # In float32, as where the vectors were learned: the edges depend on it.
    growth_N = torch.log(far_N / near) / torch.log(torch.tensor((max_distance - 1) / near, device="cpu"))
    far_N = (growth_N * (near - 1)).ceil() + near
    return torch.where(distance_N.abs() <= near, distance_N, (far_N * distance_N.sign()).long())


class DisentangledPosition(nn.Module):
    """Adds q · K(r) and Q(r) · k, where r is the vector of the distance (He et al., 2021, eq. 4)."""

    norm: nn.Module | None

    def __init__(self, said: Disentangled, at: Site) -> None:
        super().__init__()
        if at.heads is None or at.kv_heads is None:
            raise ValueError("disentangled positions stand inside an attention with heads")
        self.table = at.once("table", said, partial(Embedding, 2 * said.span, at.d_model))
        self.norm = None
        for name, part, site in said.parts(at):
            setattr(self, name, at.once(name, said, partial(part.build, site)))
        self.terms, self.dropout, self.head_dim = said.terms, said.dropout, at.width
        self.k = self.q = None
        if said.projections == "own":
            self.k = Linear(at.d_model, at.kv_heads * at.width) if "c2p" in said.terms else None
            self.q = Linear(at.d_model, at.heads * at.width) if "p2c" in said.terms else None
        self.far = said.max_distance
        # No buffer: it follows from what was said. All distances beyond the farthest share its vector.
        distance_N = torch.arange(-self.far, self.far + 1, device="cpu")
        bucket_N = distance_N if said.buckets is None else bucket_of(distance_N, said.buckets, said.max_distance)
        self._index_N = (bucket_N + said.span).clamp(0, 2 * said.span - 1)

    def score_bias(self, project_q: Project, project_k: Project) -> Callable[..., Tensor]:
        """What adds the terms to the scores, given what makes heads of queries and keys of vectors."""
        r_RD = self.table.weight if self.norm is None else self.norm(self.table.weight)
        if self.dropout:
            r_RD = F.dropout(r_RD, self.dropout, self.training)
        k_GRE = (self._heads(self.k) or project_k)(r_RD) if "c2p" in self.terms else None
        q_HRE = (self._heads(self.q) or project_q)(r_RD) if "p2c" in self.terms else None

        def added(q_BHTE: Tensor, k_BGSE: Tensor, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
            distance_BTS = q_position_BT.unsqueeze(-1) - k_position_BS.unsqueeze(-2)
            index_BTS = self._index_N.to(distance_BTS.device)[distance_BTS.clamp(-self.far, self.far) + self.far]
            found = []
            if k_GRE is not None:
                found.append(pairs(against(q_BHTE, k_GRE.to(q_BHTE.dtype)), index_BTS))
            if q_HRE is not None:
                asked_BHST = pairs(against(k_BGSE, q_HRE.to(k_BGSE.dtype)), index_BTS.transpose(-1, -2))
                found.append(asked_BHST.transpose(-1, -2))
            return found[0] if len(found) == 1 else found[0] + found[1]

        return added

    def _heads(self, projection: Any) -> Project | None:
        """A projection of its own, by heads."""
        if projection is None:
            return None
        return lambda r_RD: projection(r_RD).unflatten(-1, (-1, self.head_dim)).transpose(0, 1)

    def extra_repr(self) -> str:
        """Terms and farthest distance, for printing."""
        return f"{' + '.join(self.terms)}, max_distance={self.far}"
