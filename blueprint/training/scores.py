"""What an objective measures on held-out batches besides its loss. No Lightning here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.training.task import Text

IGNORED = -100


def scores(
    objective: Any,
    model: nn.Module | None = None,
    text: Text | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """The objective's torchmetrics by name, empty of any batch; none where it has none.

    An objective that refers to what the data says of its labels at large is told of it first, and reads it by the
    `model` that is to be measured.
    """
    refer, made = getattr(objective, "refer", None), getattr(objective, "scores", None)
    if refer is not None and model is not None:
        found = {} if text is None else text.references
        refer(model, {name: torch.from_numpy(each).to(device) for name, each in found.items()})
    return {} if made is None else {name: each.to(device) for name, each in made().items()}


def score(into: Mapping[str, Any], metrics: Mapping[str, Any], batch: Mapping[str, Tensor]) -> None:
    """Add a batch: what each score was told, or what was predicted against the batch's labels, without the rows that
    only fill it up."""
    for name, said in metrics.get("told", {}).items():
        into[name].update(*said)
    predicted = metrics.get("predicted")
    if predicted is None or not into:
        return
    labels = batch["labels"]
    counts = ~labels.isnan() if labels.is_floating_point() else labels != IGNORED
    counts_B = counts.flatten(1).any(1) if labels.dim() > 1 else counts
    if not counts_B.any():
        return
    for each in into.values():
        each.update(predicted[counts_B], labels[counts_B])
