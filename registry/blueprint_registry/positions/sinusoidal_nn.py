"""Sines and cosines of the position. Shapes: `B` batch, `T` tokens, `D` model width, `F` frequencies (half of D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.positions.sinusoidal import Sinusoidal


class SinusoidalPositions(nn.Module):
    """sin(position · f) and cos(position · f) with f = 10000^(−2i/D), or 10000^(−i/(D/2 − 1)) for `tensor2tensor`.

    Computed where they are used, in float32, for any position: there is no table to store, move or outgrow.
    """

    def __init__(self, said: Sinusoidal, at: Site) -> None:
        super().__init__()
        half = at.width // 2
        steps = max(half - 1, 1) if said.layout == "tensor2tensor" else half
        self.interleaved, self.width, self.offset = said.layout == "interleaved", at.width, said.offset
        self._frequencies = tuple(10000.0 ** (-i / steps) for i in range(half))

    def forward(self, flow: Flow) -> Tensor:
        """Vectors (B, T, D), float32, of the flow's positions."""
        position_BT1 = (flow.position_BT + self.offset).unsqueeze(-1).float()
        angle_BTF = position_BT1 * position_BT1.new_tensor(self._frequencies)
        if self.interleaved:
            return torch.stack((angle_BTF.sin(), angle_BTF.cos()), dim=-1).flatten(-2)
        return torch.cat((angle_BTF.sin(), angle_BTF.cos()), dim=-1)

    def extra_repr(self) -> str:
        """The width, layout and offset, for printing."""
        return f"{self.width}, interleaved={self.interleaved}" + (f", offset={self.offset}" if self.offset else "")
