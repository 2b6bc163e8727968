"""T5's learned biases. Shapes: `B` batch, `H` heads, `T` queries, `S` keys, `N` distances told apart."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Embedding

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.t5_bias import T5Bias


def bucket_of(distance_N: Tensor, buckets: int, max_distance: int, both_ways: bool) -> Tensor:
    """The bucket of each signed distance, key minus query (Raffel et al., 2020, §2.1; the rounding is their code's).

    Of a direction's buckets the first half hold one distance each, the others grow in proportion.
    """
    first_N = torch.zeros_like(distance_N)
    if both_ways:
        buckets //= 2
        first_N = buckets * (distance_N > 0)
        distance_N = distance_N.abs()
    else:
        distance_N = (-distance_N).clamp_min(0)
    exact = buckets // 2
    # In float32, as where the buckets were learned: the edges depend on it.
    growth_N = torch.log(distance_N.clamp_min(1).float() / exact) / math.log(max_distance / exact)
    far_N = (exact + (growth_N * (buckets - exact)).long()).clamp_max(buckets - 1)
    return first_N + torch.where(distance_N < exact, distance_N, far_N)


class T5BiasPosition(nn.Module):
    """A table (buckets, H) read at the bucket of each distance.

    Raises ValueError where the site does not say how many heads there are.
    """

    def __init__(self, said: T5Bias, at: Site) -> None:
        super().__init__()
        if at.heads is None:
            raise ValueError("t5_bias stands inside an attention with heads")
        make = partial(Embedding, said.buckets, at.heads)
        self.table = at.once("table", said, make) if said.scope == "stack" else make()
        self.far = said.max_distance
        # No buffer: it follows from what was said. All distances beyond the farthest share its bucket.
        distance_N = torch.arange(-self.far, self.far + 1, device="cpu")
        self._bucket_N = bucket_of(distance_N, said.buckets, said.max_distance, both_ways=not at.causal)

    def bias(self, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        """Positions (B, T) of queries and (B, S) of keys to what is added to the scores, (B, H, T, S)."""
        distance_BTS = k_position_BS.unsqueeze(-2) - q_position_BT.unsqueeze(-1)
        index_BTS = distance_BTS.clamp(-self.far, self.far) + self.far
        bucket_BTS = self._bucket_N.to(index_BTS.device)[index_BTS]
        bias_BTSH: Tensor = self.table(bucket_BTS)
        return bias_BTSH.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """The farthest distance, for printing."""
        return f"max_distance={self.far}"
