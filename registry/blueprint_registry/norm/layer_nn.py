"""Layer norm. Shapes: `D` the normed width, `N` every other axis; `x_ND` stands for any leading axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.norm.layer import Layer


class LayerNorm(nn.Module):
    """(x − mean) / sqrt(variance + eps) · weight + bias over the last axis, in float32 for 16-bit inputs; the result
    has x's dtype."""

    def __init__(self, said: Layer, at: Site) -> None:
        super().__init__()
        self.eps, self.offset, self.width = said.eps, said.offset, at.width
        self.weight = nn.Parameter(torch.full((at.width,), 1.0 - said.offset)) if said.affine else None
        self.bias = nn.Parameter(torch.zeros(at.width)) if said.affine and said.bias else None

    def forward(self, x_ND: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        wide_ND = x_ND.float() if x_ND.dtype.itemsize < 4 else x_ND
        weight_D = None if self.weight is None else self.weight.to(wide_ND.dtype)
        bias_D = None if self.bias is None else self.bias.to(wide_ND.dtype)
        if weight_D is not None and self.offset:
            weight_D = weight_D + self.offset
        return F.layer_norm(wide_ND, (self.width,), weight_D, bias_D, self.eps).to(x_ND.dtype)

    def extra_repr(self) -> str:
        """Width, eps and what is learned, for printing."""
        learned = f"affine={self.weight is not None}, bias={self.bias is not None}"
        return f"{self.width}, eps={self.eps:g}, {learned}, offset={self.offset}"
