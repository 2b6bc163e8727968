"""One vector for a whole sequence. Shapes: `B` batch, `T` tokens, `D` model width, `V` vocabulary."""

from __future__ import annotations

from torch import Tensor

from blueprint.ops import Flow
from blueprint_registry.head.pooled_nn import Pooling


class PoolerHead(Pooling):
    """norm(act(pool(x) V + c))."""

    def forward(  # type: ignore[override]
        self, x_BTD: Tensor, table_VD: Tensor | None = None, flow: Flow | None = None
    ) -> Tensor:
        """Hidden states (B, T, D) to a vector for each sequence; `flow` says what is padding."""
        return super().forward(x_BTD, flow)
