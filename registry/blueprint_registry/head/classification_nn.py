"""Logits of classes. Shapes: `B` batch, `T` tokens, `D` model width, `P` width of the pooled vector, `C` classes, `V`
vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Flow, Linear
from blueprint_registry.head.pooled_nn import Pooling

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.head.classification import Classification


class ClassificationHead(nn.Module):
    """dropout(norm(act(pool(x) V + c))) Wᵀ + b."""

    def __init__(self, said: Classification, at: Site) -> None:
        super().__init__()
        self.pooling = Pooling(said, at)
        self.output = Linear(said.inside(at).width, said.labels, bias=said.bias, role="head")
        self.dropout = said.dropout

    def forward(self, x_BTD: Tensor, table_VD: Tensor | None = None, flow: Flow | None = None) -> Tensor:
        """Hidden states (B, T, D) to logits (B, C); `flow` says what is padding."""
        x_BP = self.pooling(x_BTD, flow)
        if self.dropout:
            x_BP = F.dropout(x_BP, self.dropout, self.training)
        logits_BC: Tensor = self.output(x_BP)
        return logits_BC
