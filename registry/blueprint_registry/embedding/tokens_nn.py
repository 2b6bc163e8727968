"""A table of token vectors. Shapes: `B` batch, `T` tokens, `E` width of the sum, `D` model width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Embedding, Flow, Linear

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.embedding.tokens import Tokens


class TokensEmbedding(nn.Module):
    """project(dropout(norm(scale · table[ids] + positions + types))), or the projection where else it is said to be:
    of the sum ahead of the norm, or of the scaled tokens alone. Raises ValueError where the vocabulary's size is not
    known."""

    def __init__(self, said: Tokens, at: Site) -> None:
        super().__init__()
        if at.vocab_size is None:
            raise ValueError("a token table needs vocab_size: say it in the model, or name a tokenizer")
        width = said.table_width(at)
        self.tokens = Embedding(at.vocab_size, width)
        self.positions: nn.Module | None = None
        self.norm: nn.Module | None = None
        for name, part, site in said.parts(at):
            setattr(self, name, part.build(site))
        self.token_types = Embedding(said.token_types, said.sum_width(at)) if said.token_types else None
        self.projection: nn.Module | None = None
        if said.width is not None:
            self.projection = Linear(width, at.width, bias=said.projection_bias)
        self.projected = said.project
        self.scale, self.dropout = at.number(said.scale), said.dropout

    def forward(self, input_ids_BT: Tensor, flow: Flow) -> Tensor:
        """Ids (B, T) to vectors (B, T, D)."""
        x_BTE = self.tokens(input_ids_BT)
        if self.scale != 1:
            x_BTE = x_BTE * self.scale
        if self.projected == "tokens":
            x_BTE = self.project(x_BTE)
        if self.positions is not None:
            x_BTE = x_BTE + self.positions(flow).to(x_BTE.dtype)
        if self.token_types is not None:
            types_BT = torch.zeros_like(input_ids_BT) if flow.type_BT is None else flow.type_BT
            x_BTE = x_BTE + self.token_types(types_BT)
        if self.projected == "sum":
            x_BTE = self.project(x_BTE)
        if self.norm is not None:
            x_BTE = self.norm(x_BTE)
        if self.dropout:
            x_BTE = F.dropout(x_BTE, self.dropout, self.training)
        return self.project(x_BTE) if self.projected == "normed" else x_BTE

    def project(self, x_BTE: Tensor) -> Tensor:
        """To the model's width, where the table is said to have one of its own."""
        x_BTD: Tensor = x_BTE if self.projection is None else self.projection(x_BTE)
        return x_BTD
