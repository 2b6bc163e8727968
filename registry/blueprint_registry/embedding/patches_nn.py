"""Images cut into patches. Shapes: `B` batch, `C` channels, `H` height, `W` width, `T` tokens, `D` model width, `G` and
`K` patches down and across.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Embedding, Flow
from blueprint_registry.embedding.patches import both

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.embedding.patches import Patches


class PatchesEmbedding(nn.Module):
    """dropout(norm([prefix; patches E + b] + positions)), the patches row by row, with registers after the prefix."""

    def __init__(self, said: Patches, at: Site) -> None:
        super().__init__()
        patch = both(said.patch_size)
        self.patches = nn.Conv2d(said.channels, at.width, patch, patch, bias=said.bias)
        self.prefix = Embedding(said.prefix, at.width) if said.prefix else None
        self.registers = Embedding(said.registers, at.width) if said.registers else None
        self.positions: nn.Module | None = None
        self.norm: nn.Module | None = None
        for name, part, site in said.parts(at):
            setattr(self, name, part.build(site))
        self.shape, self.dropout = said.input_shape, said.dropout

    def forward(self, pixel_values_BCHW: Tensor, flow: Flow) -> Tensor:
        """Images (B, C, H, W) to vectors (B, T, D). Raises ValueError for images of another size."""
        if pixel_values_BCHW.shape[1:] != self.shape:
            found = tuple(pixel_values_BCHW.shape)
            raise ValueError(f"pixel_values has shape {found}, expected (batch, {', '.join(map(str, self.shape))})")
        x_BDGK: Tensor = self.patches(pixel_values_BCHW.to(self.patches.weight.dtype))
        x_BTD = x_BDGK.flatten(2).transpose(1, 2)
        x_BTD = self._behind(self.prefix, x_BTD, 0)
        if self.positions is not None:
            placed = replace(flow, position_BT=flow.position_BT[:, : x_BTD.shape[1]])
            x_BTD = x_BTD + self.positions(placed).to(x_BTD.dtype)
        x_BTD = self._behind(self.registers, x_BTD, 0 if self.prefix is None else len(self.prefix.weight))
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return F.dropout(x_BTD, self.dropout, self.training) if self.dropout else x_BTD

    @staticmethod
    def _behind(learned: Embedding | None, x_BTD: Tensor, place: int) -> Tensor:
        """The tokens with learned ones put in at a place."""
        if learned is None:
            return x_BTD
        learned_BTD = learned.weight.to(x_BTD.dtype).expand(len(x_BTD), -1, -1)
        return torch.cat((x_BTD[:, :place], learned_BTD, x_BTD[:, place:]), 1)
