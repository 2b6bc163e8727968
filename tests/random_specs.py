"""What any spec must do: be refused with a reason and its place, or plan, build, cost, learn, decode and come back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

import blueprint as bp
from blueprint.choice import BackendError
from blueprint.model.trial import trial_batch, trial_loss
from blueprint.model.weights import freeze, trained
from blueprint.testing.checks import (
    _causality as causality,
)
from blueprint.testing.checks import (
    _padding_is_nothing as padding_is_nothing,
)
from blueprint.testing.checks import (
    _rows_do_not_see_each_other as rows_do_not_see_each_other,
)
from blueprint.testing.checks import (
    _step_by_step_equals_at_once as step_by_step_equals_at_once,
)
from blueprint.testing.drawn import mended
from blueprint.testing.pieces import pieces_add_up
from blueprint.testing.tiny import LENGTH, TINY, Case

#: More than this is no small spec any more: it is planned, counted and told, not run.
LARGE = 3_000_000
TRIES = 6


def try_spec(said: dict[str, Any]) -> str:
    """Hold a spec, or what is left of it without its mistakes, to what any spec must do; returns what became of it."""
    for _ in range(TRIES):
        try:
            spec = bp.load(said)
            bp.plan(spec)
            # Only the model itself has the names that these are said by.
            shapes = bp.build(spec, device="meta")
            freeze(shapes, spec)
            trained(shapes, spec)
        except bp.SpecError as error:
            problems = error.problems
        else:
            try:
                return hold(spec)
            except BackendError:  # asked for by name, and not for this device
                return "elsewhere"
        assert problems, "refused without a reason"
        for problem in problems:
            assert problem.path, f"a reason without a place: {problem}"
            assert len(problem.message) > 10, f"no reason: {problem}"
        before, said = said, mended(said, problems)
        if said == before:
            break
    return "refused"


def hold(spec: bp.Spec) -> str:
    """Hold a valid spec to all it must do."""
    plan = bp.plan(spec)
    assert str(plan)
    again = bp.load(spec.to_plain())
    assert again.to_plain() == spec.to_plain(), "the resolved spec reads back as another"
    assert bp.plan(again).hash == plan.hash
    sparse = bp.load(spec.to_plain(defaults=False))
    assert bp.plan(sparse).hash == plan.hash, "leaving defaults out changes the plan"
    shapes = bp.build(spec, device="meta")
    count = sum(parameter.numel() for parameter in shapes.parameters())
    cost = bp.cost(spec, length=min(16, plan.site.max_length or 16))
    assert cost.parameters == count
    if count > LARGE:
        return "large"
    model = bp.build(spec)
    learns(spec, model)
    promises(spec.to_plain())
    return "held"


def learns(spec: bp.Spec, model: Any) -> None:
    """One step of the spec's own optimizer on its own objective: finite, and something moves."""
    plan = bp.plan(spec)
    length = min(16, plan.site.max_length or 16)
    freeze(model, spec)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    torch.manual_seed(0)
    batch = trial_batch(plan, 4, length, generator=torch.Generator().manual_seed(0))
    loss, _ = trial_loss(spec, plan.site)(model.train(), batch)
    assert math.isfinite(loss.item()), "the loss is not finite"
    loss.backward()
    optimizer = spec.optimizer.build(plan.site)(trained(model, spec))
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), f"{name} is not finite after a step"
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), f"{name} is frozen and moved"
    assert any(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def promises(said: Mapping[str, Any]) -> None:
    """The contract of every component, of them all together: no look ahead, cached as uncached, pieces that add up."""
    said = _roomy(said)
    case = Case("model", said["model"]["type"], {}, said)
    site = case.spec.model.site()
    if site.ids:
        # What is drawn may grow large: in double precision a difference is a mistake.
        case.model.double()
    if (site.max_length or LENGTH) >= LENGTH:
        for check in (causality, rows_do_not_see_each_other, padding_is_nothing, step_by_step_equals_at_once):
            check(case)
        pieces_add_up(case)


def _roomy(said: Any) -> Any:
    """The same with a vocabulary that has all ids of the checks."""
    if not isinstance(said, Mapping):
        return said
    return {key: TINY["vocab_size"] if key == "vocab_size" else _roomy(value) for key, value in said.items()}
