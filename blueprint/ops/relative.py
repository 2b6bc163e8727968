"""Scores between tokens and vectors of distances, and their way back to pairs of tokens.

B batch, T queries, S keys, N tokens, H heads, G key-value heads, E head width, R vectors of distances.
"""

from __future__ import annotations

import torch
from torch import Tensor


def against(x_BHNE: Tensor, r_GRE: Tensor) -> Tensor:
    """The products (B, max(H, G), N, R) of every token with every vector, heads of either shared by those of the
    other; one of H and G divides the other."""
    batch, heads, tokens, width = x_BHNE.shape
    groups = r_GRE.shape[0]
    if groups <= heads:
        x_BGNE = x_BHNE.reshape(batch, groups, heads // groups * tokens, width)
        x_BGNR: Tensor = x_BGNE @ r_GRE.transpose(-1, -2)
        return x_BGNR.view(batch, heads, tokens, -1)
    r_HnER = r_GRE.unflatten(0, (heads, groups // heads)).transpose(-1, -2)  # n of them to each head
    x_BHnNR: Tensor = x_BHNE[:, :, None] @ r_HnER
    return x_BHnNR.flatten(1, 2)


def pairs(x_BHTR: Tensor, index_BTS: Tensor) -> Tensor:
    """(B, H, T, S): of each token's R numbers the one that its pair's index (1 or B, T, S) says."""
    batch, heads = x_BHTR.shape[:2]
    return x_BHTR.gather(-1, index_BTS[:, None].expand(batch, heads, -1, -1))


def gathered(p_BHTS: Tensor, index_BTS: Tensor, count: int) -> Tensor:
    """(B, H, T, R): the weights of all keys with the same index added up, for R = `count` indices."""
    batch, heads = p_BHTS.shape[:2]
    index_BHTS = index_BTS[:, None].expand(batch, heads, -1, -1)
    return torch.zeros_like(p_BHTS[..., :1]).expand(-1, -1, -1, count).scatter_add(-1, index_BHTS, p_BHTS)
