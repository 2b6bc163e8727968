"""A loss to try a model with: its objective's, or one that any model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from blueprint.component import Site
from blueprint.kinds import Objective
from blueprint.model.inputs import given_of, sample_inputs, told_of
from blueprint.ops import with_losses
from blueprint.plan import Plan
from blueprint.schema.spec import Spec

Loss = Callable[[Any, Mapping[str, Any]], tuple[Tensor, Any]]


def trial_loss(spec: Spec, site: Site) -> Loss:
    """The spec's objective, or where it has none `mean_square`; the model itself stands for those it asks."""
    if spec.objective is None:
        return mean_square
    objective, asked = spec.objective.build(replace(site, path="objective")), spec.objective.asks()

    def loss(model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Any]:
        if asked:
            objective.meet(dict.fromkeys(asked, model))
        found: tuple[Tensor, Any] = objective(model, batch)
        return found

    return loss


def trial_batch(
    plan: Plan,
    batch: int,
    length: int,
    *,
    objective: Objective | None = None,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Inputs as `sample_inputs` gives them, with the labels that an objective for such a head takes beside them.

    Labels are a class for each sequence (B,) where the head tells classes of it apart, or yes or no to each (B, C)
    where a sample may have several, a class for each token (B, T) where it tells those, else for every token the next
    of its row; a model that reads no ids and tells no classes apart has none.
    """
    inputs = sample_inputs(plan, batch, length, device=device, generator=generator)
    classes = getattr(getattr(plan.model, "head", None), "classes", None)
    told = told_of(plan.model)
    if classes is not None:
        labels = inputs[told] if told is not None and plan.model.tells == "tags" else torch.arange(batch, device=device)
        several = objective is not None and "several" in objective.traits
        every = torch.arange(classes, device=device)
        found = ((labels[:, None] + every) % 2).float() if several else labels % classes
        return {**inputs, "labels": found}
    return inputs if told is None else {**inputs, "labels": inputs[told].roll(-1, 1)}


def mean_square(model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Any]:
    """The mean square of what the head gives, with the losses of all layers."""
    out = model(**given_of(model, batch))
    return with_losses(out.logits.float().square().mean(), out.terms), {}
