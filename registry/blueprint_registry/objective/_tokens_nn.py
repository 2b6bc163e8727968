"""Prediction of the tokens of a text itself. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from blueprint_registry.objective._token_loss_nn import TokenObjective, loss_of, read

if TYPE_CHECKING:
    from blueprint_registry.objective._predicting import Predicting


class TokensObjective(TokenObjective):
    """Mean cross-entropy of `labels` (B, T): the tokens to tell, place by place (−100 is not counted), the logits never
    whole in memory."""

    def __init__(self, said: Predicting) -> None:
        self.said = said

    def run(self, model: nn.Module, batch: Mapping[str, Any]) -> Any:
        """What the model makes of ids (B, T)."""
        return read(model, batch)

    def judged(self, model: nn.Module, out: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics (`loss`, `tokens`, the terms of the model's parts)."""
        return loss_of(model, out, batch["labels"], **(self.said.additions if model.training else {}))
