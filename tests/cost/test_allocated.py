"""The memory that is foretold of a training step is what torch's allocator hands out in real ones."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import blueprint as bp
from blueprint.cost.memory import cast, computing
from blueprint.model.recompute import recompute
from blueprint.model.trial import trial_batch, trial_loss
from blueprint.model.weights import trained
from blueprint.plan import plan
from blueprint.schema.spec import Spec

from .conftest import spec


def steps(made: Spec, batch: int, length: int) -> None:
    """Three steps, gradients cleared between forward and backward."""
    written, several = plan(made), made.trainer.accumulate_grad_batches
    model = cast(bp.build(made), made.trainer.precision).train()
    recompute(model, made.recompute)
    optimizer = made.optimizer.build(written.site)(trained(model, made))
    loss_of = trial_loss(made, written.site)
    inputs = trial_batch(written, batch, length, generator=torch.Generator().manual_seed(0))
    for index in range(3 * several):
        with computing(made.trainer.precision):
            loss, _ = loss_of(model, inputs)
        if index % several == 0:
            optimizer.zero_grad()
        loss.backward()
        if index % several == several - 1:
            optimizer.step()


def allocated(run: Callable[[], object]) -> int:
    """The most bytes that torch's allocator has given out at one time."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None
    events = profiled.profiler.kineto_results.events()
    held = most = 0
    for _, change in sorted((each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]"):
        held += change
        most = max(most, held)
    return most


def told(made: Spec, **changed: Any) -> Spec:
    """A spec with sections changed as said."""
    plain = made.to_plain()
    return bp.load({**plain, **changed, "trainer": {**plain["trainer"], **changed.get("trainer", {})}})


LARGE: dict[str, Any] = {"d_model": 96, "vocab_size": 20_000, "layers": 2}
CASES: dict[str, tuple[Spec, int, int]] = {
    "activations": (spec(vocab_size=5000), 8, 128),
    "weights": (spec(**LARGE), 1, 16),
    "mixed": (spec(trainer="bf16-mixed", vocab_size=5000), 8, 128),
    "adafactor": (told(spec(**LARGE), optimizer={"type": "adafactor", "lr": 1e-3}), 1, 16),
    "lion, accumulated": (
        told(spec(**LARGE), optimizer={"type": "lion", "lr": 1e-3}, trainer={"accumulate_grad_batches": 2}),
        1,
        16,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_foretold_is_allocated(name: str) -> None:
    made, batch, length = CASES[name]
    steps(made, 1, 4)
    foretold = bp.cost(made, length, batch).memory.training
    assert foretold == pytest.approx(allocated(lambda: steps(made, batch, length)), rel=0.02)


@pytest.mark.parametrize(("batch", "length", "d_model"), [(8, 128, 32), (16, 256, 32), (1, 16, 128)])
@pytest.mark.parametrize("part", ["block", "attention"])
def test_parts_computed_again_take_what_is_foretold(part: str, batch: int, length: int, d_model: int) -> None:
    # The peak lies within the backward, where some gradients are still to come.
    made = told(spec(layers=8, vocab_size=500, d_model=d_model), recompute={"part": part})
    steps(made, 1, 4)
    held, foretold = allocated(lambda: steps(made, batch, length)), bp.cost(made, length, batch).memory
    assert foretold.training == pytest.approx(held, rel=0.02)


def test_an_update_that_takes_more_than_the_backward_is_the_peak() -> None:
    made, batch, length = CASES["adafactor"]
    found = bp.cost(made, length, batch).memory
    assert found.activations is not None
    assert found.updating is not None
    assert found.training == found.weights + found.gradients + (found.optimizer or 0) + found.updating
    assert found.updating > found.activations
    assert "updating" in str(bp.cost(made, length, batch))
