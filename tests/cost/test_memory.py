"""Activations: what is told from a few layers is what the whole model holds, and what torch's own tracker sees."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

import blueprint as bp
from blueprint.cost import flops, memory
from blueprint.cost.reduce import measured
from blueprint.model.build import with_hook
from blueprint.plan import Plan, plan

from .conftest import UNEVEN, D, spec

LENGTH, BATCH = 64, 3


@pytest.mark.parametrize("trainer", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("name", UNEVEN)
def test_a_few_layers_tell_of_all(name: str, trainer: str) -> None:
    made = spec(trainer=trainer, **UNEVEN[name])
    written = plan(made)
    objective = made.objective.build(written.site)
    whole = memory.activations(made, written, LENGTH, BATCH, objective)["activations"]
    assert bp.cost(made, LENGTH, BATCH).memory.activations == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("name", UNEVEN)
def test_operations_add_up_exactly(name: str) -> None:
    written = plan(spec(**UNEVEN[name]))
    whole = flops.operations(written, LENGTH, BATCH)
    assert measured(written, lambda part: flops.operations(part, LENGTH, BATCH)) == whole


def test_a_loss_in_chunks_holds_as_much_whether_all_of_them_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = spec(vocab_size=20_000, layers=1)
    written = plan(made)
    few = memory.activations(made, written, 1000, 3, made.objective.build(written.site))
    monkeypatch.setattr(memory, "few_chunks", nullcontext)
    assert memory.activations(made, written, 1000, 3, made.objective.build(written.site)) == few


def test_no_more_layers_are_run_than_there_are() -> None:
    runs: list[int] = []

    def count(part: Plan) -> dict[str, int]:
        runs.append(sum(map(len, part.stacks.values())))
        return {"n": 0}

    measured(plan(spec(layers=60)), count)
    assert runs == [1, 2]
    runs.clear()
    different = {str(i): {"feed_forward": {"d_ff": 8 * (i + 1)}} for i in range(6)}
    measured(plan(spec(layers=8, overrides=different)), count)
    assert runs == [8]


def test_torchs_tracker_sees_the_same_peak() -> None:
    made = spec(layers=3)
    written = with_hook(plan(made))
    objective = made.objective.build(written.site)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = written.model.build(written.site)(written).train()
        ids = torch.zeros(4, 64, dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            loss, _ = objective(model, {"input_ids": ids, "labels": ids})
            loss.backward()
    (peak,) = (each for device, each in tracker.get_tracker_snapshot("peak").items() if device.type == "cpu")
    weights = sum(p.numel() * 4 for p in model.parameters())
    found = memory.activations(made, plan(made), 64, 4, objective)["activations"]
    assert found == pytest.approx(peak["Total"] - weights, rel=0.02)


def test_activations_grow_with_the_batch_and_gradients_do_not_count() -> None:
    one, four = (bp.cost(spec(), LENGTH, batch).memory.activations for batch in (1, 4))
    assert one is not None
    assert four is not None
    assert 3.5 < four / one <= 4.0
    # With next to no tokens next to nothing is held, but for the gradient of the head that the loss makes.
    few = bp.cost(spec(vocab_size=50_000), 1, 1).memory.activations
    assert few is not None
    assert few == pytest.approx(50_000 * D * 4, rel=0.5)


class TestLedger:
    """What is held at most, written down storage by storage."""

    def ledger(self) -> tuple[torch.nn.Linear, memory.Ledger]:
        layer = torch.nn.Linear(8, 8, bias=False)
        return layer, memory.Ledger(layer)

    def test_what_is_let_go_makes_room(self) -> None:
        _, ledger = self.ledger()
        with ledger:
            kept = torch.zeros(100)
            for _ in range(5):
                kept = kept + 1
        assert ledger.peak() == 2 * 400

    def test_views_and_weights_take_nothing(self) -> None:
        layer, ledger = self.ledger()
        with ledger, torch.no_grad():
            layer.weight.view(-1)[3:].add_(1)
            whole = torch.zeros(50)
            _ = [whole[i:] for i in range(5)]
        assert ledger.peak() == 200

    def test_a_gradient_made_in_the_backward_is_not_an_activation(self) -> None:
        layer, ledger = self.ledger()
        x = torch.zeros(1, 8)
        with ledger:
            y = layer(x).sum()
            ledger.begin_backward()
            y.backward()
        assert layer.weight.grad is not None
        assert ledger.peak() < layer.weight.nbytes
