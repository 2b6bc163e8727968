"""Attention with linear biases. Shapes: `B` batch, `H` heads, `T` queries, `S` keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.alibi import Alibi


def slopes(heads: int) -> list[float]:
    """The geometric sequence 2^(−8/n), 2^(−16/n), … for n heads, n a power of two.

    For other n, as in the authors' code: those of the power of two below, then every other one of the power above.
    """
    below = 2 ** int(math.log2(heads))
    out = [2 ** (-8 * (i + 1) / below) for i in range(below)]
    return out + [2 ** (-4 * (2 * i + 1) / below) for i in range(heads - below)]


class AlibiPosition(nn.Module):
    """−slope · |i − j|: for a causal stack, where j ≤ i, the paper's bias; else the same in both directions.

    Raises ValueError where the site does not say how many heads there are.
    """

    def __init__(self, said: Alibi, at: Site) -> None:
        super().__init__()
        if at.heads is None:
            raise ValueError("alibi stands inside an attention with heads")
        self.slopes = tuple(slopes(at.heads))

    def bias(self, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        """Positions (B, T) of queries and (B, S) of keys to what is added to the scores, (B, H, T, S), float32."""
        distance_BTS = (q_position_BT.unsqueeze(-1) - k_position_BS.unsqueeze(-2)).abs()
        slope_H11 = torch.tensor(self.slopes, dtype=torch.float32, device=q_position_BT.device).view(-1, 1, 1)
        return distance_BTS.unsqueeze(1) * -slope_H11

    def extra_repr(self) -> str:
        """The number of heads, for printing."""
        return f"{len(self.slopes)} heads"
