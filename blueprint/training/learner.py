"""A model made ready to learn: drawn, lowered, frozen, converted and compiled as its spec says. No Lightning here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from blueprint.model.build import build_plan
from blueprint.model.layers import blocks_of
from blueprint.model.recompute import recompute
from blueprint.model.weights import freeze, trained
from blueprint.plan import Plan
from blueprint.schema.spec import Spec
from blueprint.training.asked import Asked, ask
from blueprint.training.float8 import multiply_in_float8


@dataclass(frozen=True)
class Learner:
    """A model, the models that its objective asks, and the names of the linear maps that multiply in float8."""

    model: nn.Module
    asked: Asked | None
    float8: list[str]


def learner(spec: Spec, plan: Plan) -> Learner:
    """The model of a spec, seeded by it, in torch's default dtype; raises `SpecError` for optimizer groups that name
    nothing."""
    # Weights are drawn in float32 under every precision, and lowered afterwards.
    wanted = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        model, asked = build_plan(plan, seed=spec.seed), ask(spec)
    finally:
        torch.set_default_dtype(wanted)
    model.spec = spec  # type: ignore[assignment]
    model.to(wanted)
    freeze(model, spec)
    recipe = None if spec.precision is None else spec.precision.float8
    float8 = [] if recipe is None else multiply_in_float8(model, recipe)
    recompute(model, spec.recompute)
    # In place, block by block: names stay as they are, and equal blocks are compiled once.
    for _, block in blocks_of(model) if spec.compile else ():
        block.compile()
    # What is wrong with the optimizer's groups shows now.
    trained(model, spec)
    return Learner(model, asked, float8)
