"""Tokens taken by their place. Shapes: `B` batch, `T` tokens, `D` model width, `P` width of the vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow

if TYPE_CHECKING:
    from blueprint_registry.pool.first_and_mean import FirstAndMean


class FirstPool(nn.Module):
    """The first kept token; of a row that is all padding its first."""

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        return taken(x_BTD, first_index(kept(x_BTD, flow)))


class LastPool(nn.Module):
    """The last kept token; of a row that is all padding its last."""

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        return taken(x_BTD, x_BTD.shape[1] - 1 - first_index(kept(x_BTD, flow).flip(1)))


class MeanPool(nn.Module):
    """The mean of the kept tokens; 0 of a row that is all padding."""

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        return mean(x_BTD, kept(x_BTD, flow))


class FirstAndMeanPool(nn.Module):
    """The first kept token beside the mean of the others but the `skip` that follow it."""

    def __init__(self, said: FirstAndMean) -> None:
        super().__init__()
        self.skip = said.skip

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, P), P being 2D."""
        keep_BT = kept(x_BTD, flow)
        index_B = first_index(keep_BT)
        last_B1 = (index_B + self.skip)[:, None]
        others_BT = keep_BT & (torch.arange(keep_BT.shape[1], device=keep_BT.device) > last_B1)
        return torch.cat((taken(x_BTD, index_B), mean(x_BTD, others_BT)), -1)


def kept(x_BTD: Tensor, flow: Flow | None) -> Tensor:
    """Which tokens are no padding, (B, T)."""
    if flow is None or flow.keep_BT is None:
        return torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
    return flow.keep_BT


def first_index(found_BT: Tensor) -> Tensor:
    """Where each row is first true, (B,); 0 where it never is."""
    return found_BT.to(torch.uint8).argmax(1)


def taken(x_BTD: Tensor, index_B: Tensor) -> Tensor:
    """One token of each row (B, D)."""
    return x_BTD.gather(1, index_B[:, None, None].expand(-1, 1, x_BTD.shape[2]))[:, 0]


def mean(x_BTD: Tensor, keep_BT: Tensor) -> Tensor:
    """The mean of the tokens that are true, (B, D)."""
    kept_BT1 = keep_BT[..., None].to(x_BTD.dtype)
    return (x_BTD * kept_BT1).sum(1) / kept_BT1.sum(1).clamp_min(1)
