"""Prediction of the next token. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from blueprint_registry.objective._token_loss_nn import token_loss

if TYPE_CHECKING:
    from blueprint_registry.objective.causal import Causal


class CausalObjective:
    """Mean cross-entropy of `labels` (the next tokens; −100 is not counted), the logits never whole in memory."""

    def __init__(self, said: Causal) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics (`loss`, `tokens`, the terms of the model's parts) of ids and labels (B, T)."""
        extra = {"label_smoothing": self.said.label_smoothing, "z_loss": self.said.z_loss} if model.training else {}
        return token_loss(model, batch, **extra)
