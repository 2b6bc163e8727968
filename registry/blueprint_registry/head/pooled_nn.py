"""One vector for a whole sequence. Shapes: `B` batch, `T` tokens, `D` model width, `P` width of the vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        self.over = said.over.build(at.child("over"))
        width, inside = said.over.pooled_width(at), said.inside(at).child("transform")
        self.transform = Dense(width, said.activation, said.norm, said.dense_bias, inside)

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, P); a row that is all padding gives the vector of one of its tokens, or of 0 for a mean."""
        x_BP: Tensor = self.transform(self.over(x_BTD, flow))
        return x_BP
