"""The average of the weights: the formula, what measures it, and that it survives a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.diagnosis import SpecError
from blueprint.schema.learning import Ema
from blueprint.training.average import Average
from blueprint.training.checkpoint import AVERAGED, listing, read
from blueprint.training.error import RestoreError
from blueprint.training.evaluate import evaluate
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec
from tests.training.test_resume import stopped_and_resumed
from tests.training.watching import Crash, Trace, assert_same_run, last_checkpoint, rows


def test_it_is_the_mean_of_the_weights_after_every_step(make_spec: MakeSpec, tmp_path: Path) -> None:
    fit(make_spec("ema={decay: 0.6, begin: 2, every_n_steps: 3}"), tmp_path / "run", progress=False)
    found = {step: read(path) for step, path in enumerate(listing(tmp_path / "run" / "checkpoints"), start=1)}
    weights = {
        step: {k.removeprefix("model."): v for k, v in each["state_dict"].items()} for step, each in found.items()
    }
    assert AVERAGED not in found[1]
    for name, begun in weights[2].items():
        after = 0.6 * begun + 0.4 * weights[5][name]
        last = 0.6 * after + 0.4 * weights[8][name]
        for step, wanted in ((2, begun), (4, begun), (5, after), (7, after), (8, last)):
            torch.testing.assert_close(found[step][AVERAGED][name], wanted)


def test_validations_measure_it_and_leave_the_weights_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    said = ("trainer.val_check_interval=3", "ema.decay=0.5")
    for name, more in (("none", said[:1]), ("averaged", said), ("trained", (*said, "ema.validation=trained"))):
        fit(make_spec(*more), tmp_path / name, progress=False)
    none, averaged, trained = (rows(tmp_path / name) for name in ("none", "averaged", "trained"))
    assert trained == none
    assert [row["loss"] for row in averaged] == [row["loss"] for row in none]
    measured = [[row["validation_loss"] for row in found if "validation_loss" in row] for found in (none, averaged)]
    assert len(measured[0]) == len(measured[1]) == 3
    assert all(one != other for one, other in zip(*measured, strict=True))
    again = evaluate(tmp_path / "averaged", limit=2, weights="averaged")["nats"]
    assert again == pytest.approx(measured[1][-1], rel=1e-6)


def test_it_goes_on_exactly_after_a_stop(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, seen = make_spec("ema={decay: 0.9, every_n_steps: 2}", "trainer.val_check_interval=3"), Trace()
    fit(spec, tmp_path / "whole", progress=False, callbacks=[seen])
    again = stopped_and_resumed(spec, tmp_path / "broken", Crash(4))
    assert_same_run(tmp_path / "whole", seen, tmp_path / "broken", again)
    one, other = (last_checkpoint(tmp_path / name)[AVERAGED] for name in ("whole", "broken"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_either_weights_come_back(make_spec: MakeSpec, tmp_path: Path) -> None:
    fit(make_spec("ema.decay=0.5", "freeze=[embedding]", "model.share=[0, 0]"), tmp_path / "run", progress=False)
    saved = last_checkpoint(tmp_path / "run")
    trained, averaged = (
        dict(bp.restore(tmp_path / "run", weights=w).named_parameters()) for w in ("trained", "averaged")
    )
    assert saved[AVERAGED].keys() == {name for name in trained if not name.startswith("embedding")}
    for name, weight in trained.items():
        assert torch.equal(weight, saved["state_dict"][f"model.{name}"])
        assert torch.equal(averaged[name], saved[AVERAGED].get(name, weight))
    assert any(not torch.equal(averaged[name], weight) for name, weight in trained.items())


def test_what_was_not_averaged_is_not_restored(make_spec: MakeSpec, tmp_path: Path) -> None:
    fit(make_spec("trainer.max_steps=2"), tmp_path / "run", progress=False)
    with pytest.raises(RestoreError, match="the run keeps none"):
        bp.restore(tmp_path / "run", weights="averaged")
    fit(make_spec("ema.begin=7"), tmp_path / "late", progress=False)
    with pytest.raises(RestoreError, match="begin after step 7"):
        bp.restore(listing(tmp_path / "late" / "checkpoints")[0], weights="averaged")


def test_an_average_that_never_begins_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="nothing is averaged within 8"):
        make_spec("ema.begin=8")


def test_means_are_float32_and_worn_only_for_a_while() -> None:
    model = torch.nn.Linear(2, 2).to(torch.bfloat16)
    average, before = Average(Ema(decay=0.5), model), model.weight.detach().clone()
    average.update(0)
    with torch.no_grad():
        model.weight.add_(1)
    average.update(1)
    assert average.means["weight"].dtype == torch.float32
    moved = model.weight.detach().clone()
    with average.worn():
        torch.testing.assert_close(model.weight, (before.float() * 0.5 + moved.float() * 0.5).to(torch.bfloat16))
    assert torch.equal(model.weight, moved)


def test_cost_counts_it(make_spec: MakeSpec) -> None:
    plain, kept = bp.cost(make_spec(), 16), bp.cost(make_spec("ema={}", "freeze=[head]"), 16)
    assert plain.memory.averages == 0
    assert kept.memory.averages == kept.memory.gradients < kept.memory.weights
    assert "averages" in str(kept)
    assert "averages" not in str(plain)
