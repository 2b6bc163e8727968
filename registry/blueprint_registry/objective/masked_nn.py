"""Telling masked tokens. Shapes: `B` batch, `T` tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from blueprint_registry.objective._token_loss_nn import token_loss


class MaskedObjective:
    """Mean cross-entropy of `labels`, what stood where `input_ids` hides something (−100 elsewhere)."""

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its metrics (`loss`, `tokens`, the terms of the model's parts) of ids and labels (B, T)."""
        return token_loss(model, batch)
