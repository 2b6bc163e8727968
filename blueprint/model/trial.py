"""A loss to try a model with: its objective's, or one that any model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from blueprint.component import Site
from blueprint.ops import with_losses
from blueprint.plan import Plan
from blueprint.schema.spec import Spec

Loss = Callable[[Any, Mapping[str, Any]], tuple[Tensor, Any]]


def trial_loss(spec: Spec, site: Site) -> Loss:
    """The spec's objective, or where it has none `mean_square`."""
    if spec.objective is None:
        return mean_square
    loss: Loss = spec.objective.build(replace(site, path="objective"))
    return loss


def run(model: Any, ids_BT: Tensor, keep_BT: Tensor | None = None, **options: Any) -> Any:
    """What a model gives for ids (B, T) of which `keep_BT` (B, T) are no padding: to one that reads a source and writes
    a target, they are both.
    """
    return model(**trial_batch(model.plan, ids_BT, keep_BT), **options)


def trial_batch(plan: Plan, ids_BT: Tensor, keep_BT: Tensor | None = None) -> dict[str, Tensor]:
    """The inputs that a plan's model takes, made of ids (B, T)."""
    masks = {} if keep_BT is None else {"attention_mask": keep_BT}
    inputs = {"input_ids": ids_BT, **masks}
    return {**inputs, **{f"decoder_{k}": v for k, v in inputs.items()}} if "encodes" in plan.model.traits else inputs


def trial_labels(plan: Plan, labels_BT: Tensor) -> Tensor:
    """Labels as a plan's model takes them, made of some for every token (B, T): where its head tells classes apart,
    one for each sequence (B,).
    """
    classes = getattr(getattr(plan.model, "head", None), "classes", None)
    return labels_BT if classes is None else labels_BT[:, 0].clamp(min=0) % classes


def mean_square(model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Any]:
    """The mean square of what the head gives, with the losses of all layers."""
    out = run(model, batch["input_ids"])
    return with_losses(out.logits.float().square().mean(), out.terms), {}
