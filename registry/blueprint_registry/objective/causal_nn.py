"""Prediction of the next token. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint_registry.objective.token_loss_nn import token_loss

if TYPE_CHECKING:
    from blueprint_registry.objective.causal import Causal

_INPUTS = ("attention_mask", "position_ids", "segment_ids")


class CausalObjective:
    """Mean cross-entropy of `labels` (the next tokens; −100 is not counted), the logits never whole in memory."""

    def __init__(self, said: Causal) -> None:
        self.said = said

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and as metrics the cross-entropy without gradient (`loss`, nats a token), the number of tokens it
        is a mean of (`tokens`), and the terms of the model's parts, of which the losses join the loss in training.

        The batch has `input_ids` and `labels` (B, T), and may have `attention_mask`, `position_ids` and `segment_ids`;
        positions run on through documents unless the batch says them.
        """
        ids_BT, labels_BT = batch["input_ids"], batch["labels"]
        inputs = {name: batch[name] for name in _INPUTS if batch.get(name) is not None}
        if "segment_ids" in inputs and not {"position_ids", "attention_mask"} & inputs.keys():
            inputs["position_ids"] = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
        out = model(ids_BT, **inputs, logits=False)
        return token_loss(self.said, model, out, labels_BT)
