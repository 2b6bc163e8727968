"""A table of token vectors. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Embedding, Flow

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.embedding.tokens import Tokens


class TokensEmbedding(nn.Module):
    """dropout(norm(scale · table[ids] + positions)). Raises ValueError where the vocabulary's size is not known."""

    def __init__(self, said: Tokens, at: Site) -> None:
        super().__init__()
        if at.vocab_size is None:
            raise ValueError("a token table needs vocab_size: say it in the model, or name a tokenizer")
        self.tokens = Embedding(at.vocab_size, at.width)
        self.positions = said.positions.build(at.child("positions")) if said.positions else None
        self.norm = said.norm.build(at.child("norm")) if said.norm else None
        self.scale, self.dropout = at.number(said.scale), said.dropout

    def forward(self, input_ids_BT: Tensor, flow: Flow) -> Tensor:
        """Ids (B, T) to vectors (B, T, D)."""
        x_BTD = self.tokens(input_ids_BT)
        if self.scale != 1:
            x_BTD = x_BTD * self.scale
        if self.positions is not None:
            x_BTD = x_BTD + self.positions(flow).to(x_BTD.dtype)
        if self.norm is not None:
            x_BTD = self.norm(x_BTD)
        return F.dropout(x_BTD, self.dropout, self.training) if self.dropout else x_BTD
