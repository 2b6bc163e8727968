"""Prediction of the tokens of a text itself. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from blueprint_registry.objective._token_loss_nn import token_loss

if TYPE_CHECKING:
    from blueprint_registry.objective._predicting import Predicting


class TokensObjective:
    """Mean cross-entropy of `labels` (the tokens to tell, place by place; −100 is not counted), the logits never whole
    in memory."""

    def __init__(self, said: Predicting) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics (`loss`, `tokens`, the terms of the model's parts) of ids and labels (B, T)."""
        return token_loss(model, batch, **(self.said.additions if model.training else {}))
