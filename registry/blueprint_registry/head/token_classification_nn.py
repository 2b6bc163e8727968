"""Logits of each token's classes. Shapes: `B` batch, `T` tokens, `D` model width, `C` classes, `V` vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Flow, Linear
from blueprint_registry.head.dense_nn import Dense

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.head.token_classification import TokenClassification


class TokenClassificationHead(nn.Module):
    """dropout(norm(act(x V + c))) Wᵀ + b."""

    def __init__(self, said: TokenClassification, at: Site) -> None:
        super().__init__()
        self.transform = Dense(at.width, said.activation, said.norm, said.dense_bias, at.child("transform"))
        self.output = Linear(at.width, said.labels, bias=said.bias, role="head")
        self.dropout = said.dropout

    def forward(self, x_BTD: Tensor, table_VD: Tensor | None = None, flow: Flow | None = None) -> Tensor:
        """Hidden states (B, T, D) to logits (B, T, C)."""
        x_BTD = self.transform(x_BTD)
        if self.dropout:
            x_BTD = F.dropout(x_BTD, self.dropout, self.training)
        logits_BTC: Tensor = self.output(x_BTD)
        return logits_BTC
