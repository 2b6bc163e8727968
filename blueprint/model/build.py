"""The one door from a plan to a model."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from blueprint.component import Component, Site
from blueprint.diagnosis import Problem, SpecError
from blueprint.model.initialise import initialise
from blueprint.model.precision import keep_float32
from blueprint.ops import filled_later
from blueprint.plan import Plan, PlanLayer


def build_plan(plan: Plan, *, device: torch.device | str = "cpu", seed: int = 0) -> nn.Module:
    """The model a plan describes, its weights seeded by name; on `meta` it has shapes and no weights.

    Raises `SpecError` for a tensor too large for any machine.
    """
    plan = with_hook(plan)
    target = torch.device(device)
    init = next((part.build(at) for name, part, at in plan.model.parts(plan.site) if name == "init"), None)
    values = nullcontext() if init is None else filled_later()
    # A user's component may draw numbers in its constructor: they follow from the seed, and disturb nobody else.
    with torch.random.fork_rng(), torch.device("meta" if target.type == "meta" else "cpu"), values:
        torch.manual_seed(seed)
        try:
            model: nn.Module = plan.model.build(plan.site)(plan)
        except RuntimeError as error:
            # torch counts a tensor's bytes in 63 bits, on `meta` too.
            if "overflow" not in str(error):
                raise
            message = "a tensor of this model would have more bytes than can be counted"
            fix = "make the widths, the vocabulary or the length smaller"
            raise SpecError([Problem("too-large", message, ("model",), fix=fix)]) from error
    if target.type == "meta":
        return model
    if init is not None:
        # What belongs to no stack is as deep as the model itself says.
        depths = {at.path: at.layers for at in (plan.site, *plan.model.sides(plan.site).values())}
        initialise(model, init, seed, depths)
    return model.to(target)


def with_hook(plan: Plan) -> Plan:
    """The plan, to be built once: its sites tell of every part as it is built, and share what belongs to a stack."""
    stacks = {side: _hooked(stack) for side, stack in plan.stacks.items()}
    return replace(plan, site=replace(plan.site, built=_built), stacks=stacks)


def _hooked(stack: tuple[PlanLayer, ...]) -> tuple[PlanLayer, ...]:
    shared: list[tuple[Any, Any]] = []
    return tuple(replace(layer, site=replace(layer.site, built=_built, stack=shared)) for layer in stack)


def _built(part: Component, at: Site, made: Any) -> Any:
    if isinstance(made, nn.Module):
        made.blueprint_part = (part.kind, part.spec_name, at.path)  # type: ignore[assignment]
        if part.float32_role is not None and part.float32_role in (at.float32 or ()):
            return keep_float32(made, result=part.float32_result)
    return made
