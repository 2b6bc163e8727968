"""One vector for a whole sequence. Shapes: `B` batch, `T` tokens, `D` model width, `P` width of the vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow
from blueprint_registry.head.dense_nn import Dense

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.head._pooled import Pooled


class Pooling(nn.Module):
    """norm(act(pool(x) V + c))."""

    def __init__(self, said: Pooled, at: Site) -> None:
        super().__init__()
        self.pool = _POOLS[said.over]
        width, inside = said.pooled_width(at), said.inside(at).child("transform")
        self.transform = Dense(width, said.activation, said.norm, said.dense_bias, inside)

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, P); a row that is all padding gives the vector of its first token, or zero for a mean."""
        keep_BT = None if flow is None else flow.keep_BT
        if keep_BT is None:
            keep_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
        x_BP: Tensor = self.transform(self.pool(x_BTD, keep_BT))
        return x_BP


def first_index(keep_BT: Tensor) -> Tensor:
    """Where each row's first kept token stands, (B,)."""
    return keep_BT.to(torch.uint8).argmax(1)


def first(x_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """The first kept token (B, D)."""
    return _taken(x_BTD, first_index(keep_BT))


def last(x_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """The last kept token (B, D)."""
    return _taken(x_BTD, keep_BT.shape[1] - 1 - first_index(keep_BT.flip(1)))


def mean(x_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """The mean of the kept tokens (B, D)."""
    kept_BT1 = keep_BT[..., None].to(x_BTD.dtype)
    return (x_BTD * kept_BT1).sum(1) / kept_BT1.sum(1).clamp_min(1)


def first_and_mean(x_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """The first kept token beside the mean of the others (B, 2D)."""
    others_BT = keep_BT.scatter(1, first_index(keep_BT)[:, None], False)
    return torch.cat((first(x_BTD, keep_BT), mean(x_BTD, others_BT)), -1)


def _taken(x_BTD: Tensor, index_B: Tensor) -> Tensor:
    return x_BTD.gather(1, index_B[:, None, None].expand(-1, 1, x_BTD.shape[2]))[:, 0]


_POOLS = {"first": first, "last": last, "mean": mean, "first_and_mean": first_and_mean}
