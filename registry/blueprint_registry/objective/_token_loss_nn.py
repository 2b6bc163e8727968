"""The loss of objectives that ask something of single tokens. Shapes: `B` batch, `T` tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.ops import with_losses

IGNORED = -100
_INPUTS = ("attention_mask", "token_type_ids", "position_ids", "segment_ids", "prefix_length")


def token_loss(model: nn.Module, batch: Mapping[str, Any], **extra: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean cross-entropy of `labels` (−100 is not counted), the logits never whole in memory, and as metrics the
    same without gradient (`loss`, nats a token), the number of tokens it is a mean of (`tokens`), and the terms of the
    model's parts, of which the losses join the loss in training. `extra` goes to `model.cross_entropy`.

    The batch has `input_ids` and `labels` (B, T), and may have `attention_mask`, `token_type_ids`, `position_ids`,
    `segment_ids` and `prefix_length`; positions run on through documents unless the batch says them.
    """
    ids_BT, labels_BT = batch["input_ids"], batch["labels"]
    inputs = {name: batch[name] for name in _INPUTS if batch.get(name) is not None}
    if "segment_ids" in inputs and not {"position_ids", "attention_mask"} & inputs.keys():
        inputs["position_ids"] = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
    return loss_of(model, model(ids_BT, **inputs, logits=False), labels_BT, **extra)


def loss_of(model: nn.Module, out: Any, labels_BT: Tensor, **extra: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The same of what a model gave already."""
    loss: Tensor = model.cross_entropy(out.hidden, labels_BT, **extra)  # type: ignore[operator]
    terms = {name: value.detach() for name, value in out.terms.items()}
    metrics = terms | {"loss": loss.detach(), "tokens": (labels_BT != IGNORED).sum()}
    return with_losses(loss, out.terms) if model.training else loss, metrics
