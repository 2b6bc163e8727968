"""float16 is float16 on the CPU too, and its loss scaling is dynamic, seen, exact on resume, and ends where it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint.training import checkpoint as checkpoints
from blueprint.training import metrics
from blueprint.training.counts import processed
from blueprint.training.error import NonFinite
from blueprint.training.run import fit, resume
from blueprint.training.scaling import STATE, ScaledPrecision
from tests.training.conftest import MakeSpec
from tests.training.watching import Crash, Power, Trace, assert_same_run, last_checkpoint, rows

HALF = ("trainer.precision=16-mixed", "model.block.dropout=0", "schedule=constant")
#: Overflows at first, and again later as the scale grows every second step.
LIVELY = (*HALF, "precision.init_scale=4194304", "precision.growth_interval=2", "trainer.max_steps=12")


class Spoiler(pl.Callback):
    """Makes the gradients of some batches overflow."""

    def __init__(self, *batches: int) -> None:
        self.batches = batches

    def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if processed(trainer) in self.batches:
            next(each.grad for each in pl_module.parameters() if each.grad is not None).fill_(float("inf"))


class Watch(pl.Callback):
    """Notes what a run did with each batch."""

    def __init__(self) -> None:
        self.dtypes: set[torch.dtype] = set()
        self.batches: list[dict[str, Any]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        block = pl_module.model.layers[0]
        block.feed_forward.down.register_forward_hook(lambda _, given, gave: self.dtypes.add(gave.dtype))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(
            {
                "step": trainer.global_step,
                "skipped": pl_module.skipped,
                "schedule": trainer.lr_scheduler_configs[0].scheduler.last_epoch,
                "weights": torch.cat([each.detach().flatten() for each in pl_module.parameters()]).clone(),
                "means": None if pl_module.average is None else pl_module.average.means["head.weight"].clone(),
            }
        )


def test_it_is_float16_and_not_what_lightning_would_take(make_spec: MakeSpec, tmp_path: Path) -> None:
    watch = Watch()
    fit(make_spec(*HALF, "trainer.max_steps=1"), tmp_path / "run", progress=False, callbacks=[watch])
    assert watch.dtypes == {torch.float16}


def test_the_scale_changes_no_gradient_and_clipping_sees_the_true_norm(make_spec: MakeSpec, tmp_path: Path) -> None:
    said = (*HALF, "trainer.max_steps=3", "trainer.gradient_clip_val=0.5")
    fit(make_spec(*said, "precision.init_scale=1024"), tmp_path / "a", progress=False)
    fit(make_spec(*said, "precision.init_scale=16384"), tmp_path / "b", progress=False)
    fit(make_spec(*said, "trainer.precision=32-true"), tmp_path / "c", progress=False)
    for one, two, exact in zip(*(rows(tmp_path / name) for name in "abc"), strict=True):
        # Eight bits of a float16's eleven are enough for what is summed over many of them.
        assert one["gradient_norm"] == pytest.approx(exact["gradient_norm"], rel=2**-8)
        assert two["loss"] == pytest.approx(exact["loss"], rel=2**-10)


def test_a_skipped_step_moves_nothing_but_the_data(make_spec: MakeSpec, tmp_path: Path) -> None:
    watch = Watch()
    said = (*HALF, "trainer.max_steps=4", "ema.decay=0.5", "schedule=linear")
    run = fit(make_spec(*said), tmp_path / "run", progress=False, callbacks=[Spoiler(0, 3), watch])
    assert [each["skipped"] for each in watch.batches] == [True, False, False, True, False, False]
    assert [each["step"] for each in watch.batches] == [0, 1, 2, 2, 3, 4]
    assert [each["schedule"] for each in watch.batches] == [0, 1, 2, 2, 3, 4]
    before, after = watch.batches[2:4]
    assert torch.equal(before["weights"], after["weights"])
    assert torch.equal(before["means"], after["means"])
    assert (run.step, run.summary["skipped_steps"], run.summary["loss_scale"]) == (4, 2, 65536 / 4)
    logged = metrics.read(tmp_path / "run" / "metrics.csv")
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    assert [row["skipped_steps"] for row in logged] == [1, 1, 2, 2]
    assert [row["loss_scale"] for row in logged] == [32768, 32768, 16384, 16384]
    assert [path.name for path in checkpoints.listing(tmp_path / "run" / "checkpoints")] == [
        checkpoints.name(step) for step in (1, 2, 3, 4)
    ]


def test_what_settles_after_a_step_settles_after_no_skipped_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    router = "{type: top_k, correction: score}"
    experts = f"{{type: experts, experts: 4, expert: {{d_ff: 16}}, router: {router}, balance: bias}}"
    moved: list[torch.Tensor] = []

    class Corrections(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            found = [value for name, value in pl_module.model.named_buffers() if "correction" in name]
            moved.append(torch.cat([each.flatten() for each in found]).clone())

    spec = make_spec(*HALF, f"model.block.feed_forward={experts}", "trainer.max_steps=2")
    fit(spec, tmp_path / "run", progress=False, callbacks=[Spoiler(1), Corrections()])
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[1], moved[2])


def test_skipped_batches_are_not_in_the_logged_loss(make_spec: MakeSpec, tmp_path: Path) -> None:
    fit(make_spec(*HALF, "trainer.max_steps=2"), tmp_path / "a", progress=False, callbacks=[Spoiler(0)])
    seen = Trace()
    fit(make_spec(*HALF, "trainer.max_steps=2"), tmp_path / "b", progress=False, callbacks=[Spoiler(0), seen])
    (first, *_) = metrics.read(tmp_path / "a" / "metrics.csv")
    assert first["loss"] == float.fromhex(seen.seen[2][1])


CRASHES = {"among the first overflows": 2, "after them": 9, "late": 15}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"folder": tmp_path_factory.mktemp("whole") / "run"}


@pytest.mark.parametrize("at", CRASHES.values(), ids=CRASHES)
def test_a_resumed_run_is_the_same_with_its_scale_and_its_count(
    at: int, make_spec: MakeSpec, tmp_path: Path, whole: dict[str, Any]
) -> None:
    spec = make_spec(*LIVELY)
    if "seen" not in whole:
        whole["seen"] = Trace()
        fit(spec, whole["folder"], progress=False, callbacks=[whole["seen"]])
    seen = Trace()
    with pytest.raises(Power):
        fit(spec, tmp_path / "run", progress=False, callbacks=[Crash(at), seen])
    run = resume(tmp_path / "run", progress=False, callbacks=[seen])
    assert run.status == "finished"
    assert_same_run(whole["folder"], whole["seen"], tmp_path / "run", seen)
    one, two = last_checkpoint(whole["folder"])[STATE], last_checkpoint(tmp_path / "run")[STATE]
    assert one == two
    logged = [row["skipped_steps"] for row in rows(whole["folder"])]
    # Some were skipped at first, some later, in both sittings.
    assert 0 < logged[0] < logged[-1] == one["skips"]


def test_a_gradient_that_no_scale_brings_into_float16_ends_the_run(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(*HALF, "precision.init_scale=16")
    with pytest.raises(NonFinite, match="too large for float16") as found:
        fit(spec, tmp_path / "run", progress=False, callbacks=[Spoiler(*range(2, 99))])
    message = str(found.value)
    # 16, 8, 4 and 2 were tried; at 1 there is no more to try.
    assert "after 4 skipped steps" in message
    assert "bf16-mixed" in message
    assert "step=000002.ckpt" in message
    assert "the batch lies in\n    unknown" not in message
    assert [path.name for path in checkpoints.listing(tmp_path / "run" / "checkpoints")][-1] == checkpoints.name(2)


def test_a_loss_that_overflows_is_said_to_be_float16s(make_spec: MakeSpec, tmp_path: Path) -> None:
    class Spoil(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            with torch.no_grad():
                pl_module.model.layers[0].feed_forward.up.weight.fill_(1e6)

    with pytest.raises(NonFinite, match="65504"):
        fit(make_spec(*HALF), tmp_path / "run", progress=False, callbacks=[Spoil()])


def test_every_optimizer_steps_under_a_scale(make_spec: MakeSpec, tmp_path: Path) -> None:
    for name in ("sgd", "lion", "adafactor", "muon", "adamw"):
        said = [*HALF, "trainer.max_steps=2", "optimizer.lr=1e-3", "trainer.gradient_clip_val=1.0"]
        for precision in ("16-mixed", "32-true"):
            spec = make_spec(f"optimizer={name}", *said, f"trainer.precision={precision}")
            fit(spec, tmp_path / f"{name} {precision}", progress=False)
        half, exact = (rows(tmp_path / f"{name} {precision}")[-1]["loss"] for precision in ("16-mixed", "32-true"))
        assert half == pytest.approx(exact, rel=2**-9)


def test_the_state_goes_through_a_file_and_back() -> None:
    policy = bp.load(
        {
            "model": {
                "type": "decoder",
                "d_model": 8,
                "layers": 1,
                "vocab_size": 8,
                "block": {"attention": {"heads": 2}},
            },
            "trainer": {"precision": "16-mixed"},
            "precision": {"init_scale": 8},
        }
    ).precision
    assert policy is not None
    one, two = ScaledPrecision("cpu", policy), ScaledPrecision("cpu", policy)
    one.load_state_dict({**one.state_dict(), "scale": 2.0, "_growth_tracker": 5, "skips": 3})
    two.load_state_dict(one.state_dict())
    assert (two.scale, two.skips, two.state_dict()["_growth_tracker"]) == (2.0, 3, 5)
