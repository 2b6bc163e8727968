"""Queries that sharpen with their position. B batch, H heads, T tokens, E width of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from blueprint_registry.attention._said import Temperature


def sharpened(q_BHTE: Tensor, said: Temperature, position_BT: Tensor) -> Tensor:
    """Queries times 1 + scale · log(1 + ⌊(position + offset) / floor⌋), (B, H, T, E)."""
    step_BT = (position_BT + said.offset) // said.floor
    return (q_BHTE * (1 + said.scale * torch.log1p(step_BT.float()))[:, None, :, None]).to(q_BHTE.dtype)
