"""Logits of masked tokens. Shapes: `B` batch, `T` tokens, `D` model width, `E` width of the dense layer, `V`
vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Flow
from blueprint_registry.head.dense_nn import Dense
from blueprint_registry.head.language_model import LanguageModel
from blueprint_registry.head.language_model_nn import OwnLanguageModelHead, TiedLanguageModelHead

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.head.masked_language_model import MaskedLanguageModel


class MaskedLanguageModelHead(nn.Module):
    """norm(act(x V + c)) Wᵀ + b.

    `transform`, `projection`, `scale` and `softcap` are what a loss needs that never holds all logits at once.
    """

    scale: float = 1
    softcap: float | None = None

    def __init__(self, said: MaskedLanguageModel, at: Site) -> None:
        super().__init__()
        inside = said.inside(at)
        self.transform = Dense(at.width, said.activation, said.norm, said.dense_bias, inside.child("transform"))
        output = TiedLanguageModelHead if said.tie else OwnLanguageModelHead
        self.output = output(LanguageModel(tie=said.tie, bias=said.bias), inside)

    def projection(self, table_VE: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W (V, E), and the bias (V,) or None."""
        return self.output.projection(table_VE)

    def forward(self, x_BTD: Tensor, table_VE: Tensor | None = None, flow: Flow | None = None) -> Tensor:
        """Hidden states (B, T, D) to logits (B, T, V); `table_VE` is the embedding's, for a tied head."""
        logits_BTV: Tensor = self.output(self.transform(x_BTD), table_VE)
        return logits_BTV
