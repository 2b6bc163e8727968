"""A loss to try a model with: its objective's, or one that any model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from blueprint.component import Site
from blueprint.model.inputs import given_of
from blueprint.ops import with_losses
from blueprint.schema.spec import Spec

Loss = Callable[[Any, Mapping[str, Any]], tuple[Tensor, Any]]


def trial_loss(spec: Spec, site: Site) -> Loss:
    """The spec's objective, or where it has none `mean_square`."""
    if spec.objective is None:
        return mean_square
    loss: Loss = spec.objective.build(replace(site, path="objective"))
    return loss


def mean_square(model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Any]:
    """The mean square of what the head gives, with the losses of all layers."""
    out = model(**given_of(model, batch))
    return with_losses(out.logits.float().square().mean(), out.terms), {}
