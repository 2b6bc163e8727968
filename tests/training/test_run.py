"""What a run leaves behind, what it refuses, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint import files
from blueprint.training import checkpoint, metrics
from blueprint.training.callbacks import sample
from blueprint.training.error import NonFinite, TrainError
from blueprint.training.folder import Layout
from blueprint.training.run import fit, resume
from tests.training.conftest import SPEC, MakeSpec
from tests.training.watching import Signal, contents


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = bp.loads(
        SPEC.replace("TEXT", str(text)),
        overrides=[
            "sample={every_n_steps: 4, tokens: 8, prompt: 'the '}",
            "checkpoint={every_n_steps: 3, keep: 2}",
            "trainer.val_check_interval=4",
        ],
    )
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(spec, folder, progress=False)
    return folder


def test_a_run_folder_holds_what_the_run_was(run: Path) -> None:
    layout = Layout(run)
    assert bp.load(layout.spec).to_plain() == restored(run).spec.to_plain()
    lock = json.loads(layout.lock.read_text())
    assert lock["plan"] == bp.plan(bp.load(layout.spec)).hash
    assert lock["versions"]["torch"] == torch.__version__
    assert set(lock["data"]) == {"content", "train", "validation", "tokenizer"}
    rows = metrics.read(layout.metrics)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["step"] for row in rows if "validation_loss" in row] == [4, 8]
    assert [path.name for path in checkpoint.listing(layout.checkpoints)] == [checkpoint.name(6), checkpoint.name(8)]
    assert layout.curve.read_bytes().startswith(b"\x89PNG")
    assert [line for line in layout.samples.read_text().splitlines() if line.startswith("===")] == [
        "=== step 4 ===",
        "=== step 8 ===",
    ]
    assert "| the " in layout.samples.read_text()
    summary = json.loads(layout.summary.read_text())
    assert (summary["status"], summary["step"], summary["checkpoint"]) == (
        "finished",
        8,
        "checkpoints/step=000008.ckpt",
    )
    assert summary["validation_loss"] == rows[-1]["validation_loss"]


def restored(run: Path) -> Any:
    from blueprint.training.restore import restore

    return restore(run)


def test_a_checkpoint_holds_plain_values_and_the_lock(run: Path) -> None:
    found = checkpoint.read(checkpoint.listing(run / "checkpoints")[-1])["blueprint"]
    assert json.loads(json.dumps(found)) == found
    assert found["lock"] == json.loads((run / "lock.json").read_text())
    assert found["plan_hash"] == found["lock"]["plan"]


def test_the_learning_rate_follows_the_schedule(run: Path) -> None:
    spec = bp.load(run / "spec.yaml")
    for row in metrics.read(run / "metrics.csv"):
        wanted = spec.optimizer.lr * spec.schedule.factor(int(row["step"]) - 1, 8)  # type: ignore[attr-defined]
        assert row["learning_rate"] == pytest.approx(wanted)


def test_a_used_folder_is_refused_and_left_alone(run: Path, make_spec: MakeSpec) -> None:
    before = contents(run)
    with pytest.raises(TrainError, match=r"already holds a run.*\n.*blueprint resume"):
        fit(make_spec(), run, progress=False)
    assert contents(run) == before


def test_a_run_that_is_being_trained_is_not_resumed_by_another(run: Path) -> None:
    # A lock of one process does not keep that process out, so the other end is a descriptor of its own.
    with files.lock(run / ".lock"), pytest.raises(files.Busy, match=r"the run .* is in use"):
        resume(run, progress=False)


def test_resuming_a_finished_run_changes_nothing(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    again = resume(folder, progress=False)
    assert (again.status, again.step) == ("finished", 8)
    assert (folder / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()
    assert (folder / "samples.txt").read_bytes() == (run / "samples.txt").read_bytes()


@pytest.mark.parametrize(
    "override",
    ["model.layers=3", "seed=1", "optimizer.lr=1.0", "data.batch_size=4", "trainer.accumulate_grad_batches=2"],
)
def test_what_a_run_is_cannot_change_under_it(override: str, run: Path) -> None:
    with pytest.raises(TrainError, match=f"`{override.split('=')[0]}` cannot change"):
        resume(run, [override], progress=False)


def test_other_data_under_a_run_is_refused(make_spec: MakeSpec, text: Path, tmp_path: Path) -> None:
    own = tmp_path / "text"
    shutil.copytree(text, own)
    fit(make_spec("trainer.max_steps=2", f"data.source.path={own}"), tmp_path / "run", progress=False)
    (own / "extra.txt").write_text("something new\n")
    with pytest.raises(TrainError, match="data has changed"):
        resume(tmp_path / "run", ["trainer.max_steps=4"], progress=False)


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    newest = checkpoint.listing(folder / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = resume(folder)
    said = capsys.readouterr().err
    assert "passing over" in said
    assert "step=000008.ckpt" in said
    assert f"going on from {folder / 'checkpoints' / checkpoint.name(6)}" in said
    assert resumed.step == 8
    with_clock = {"tokens_per_second", "data_wait"}
    before, after = (
        [{k: v for k, v in row.items() if k not in with_clock} for row in metrics.read(f / "metrics.csv")]
        for f in (run, folder)
    )
    assert before == after
    assert (folder / "samples.txt").read_text() == (run / "samples.txt").read_text()


def test_a_spec_that_does_not_say_how_to_train_is_told_all_it_lacks(tmp_path: Path) -> None:
    block = "{attention: {heads: 2}}"
    spec = bp.loads(f"model: {{type: decoder, d_model: 32, layers: 1, vocab_size: 9, max_length: 8, block: {block}}}")
    with pytest.raises(TrainError, match=r"`data` says.*\n.*`tokenizer` says.*\n.*`trainer` says"):
        fit(spec, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_end_of_a_run_says_how_good_it_is_and_how_to_go_on(
    make_spec: MakeSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(make_spec("trainer.max_steps=2"), tmp_path / "a run")
    said = capsys.readouterr().err
    for words in (
        "validation loss",
        "unigram baseline",
        "bits per byte",
        "loss.png",
        "tokens/s",
        f"blueprint resume '{tmp_path}/a run'",
        "blueprint evaluate",
        "blueprint generate",
    ):
        assert words in said


def test_an_interrupted_run_says_how_to_go_on(
    make_spec: MakeSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run = fit(make_spec(), tmp_path / "run", callbacks=[Signal(2)])
    assert (run.status, run.step) == ("interrupted", 2)
    assert f"blueprint resume {tmp_path}/run\n" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_epochs_bound_a_run_as_steps_do(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec("trainer={max_epochs: 2, accumulate_grad_batches: 3, accelerator: cpu}")
    run = fit(spec, tmp_path / "run", progress=False)
    # Four batches an epoch: a step of three and a step of the one that is left.
    assert (run.step, run.steps) == (4, 4)


class Poison(pl.Callback):
    """Makes a weight infinite as batch `at` begins."""

    def __init__(self, at: int, value: float) -> None:
        self.at, self.value = at, value

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.at:
            with torch.no_grad():
                next(pl_module.model.parameters()).fill_(self.value)


def test_a_loss_that_is_not_finite_stops_the_run_with_all_that_helps(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(NonFinite) as found:
        fit(make_spec(), tmp_path / "run", progress=False, callbacks=[Poison(3, float("nan"))])
    error = found.value
    last = tmp_path / "run" / "checkpoints" / checkpoint.name(3)
    assert (error.step, error.checkpoint) == (4, last)
    assert ".txt (tokens" in error.place
    assert "the loss is nan at step 4" in str(error)
    assert checkpoint.listing(last.parent)[-1] == last
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("broken", 3)
    for tensor in checkpoint.read(last)["state_dict"].values():
        assert torch.isfinite(tensor).all()
    # What stopped it was no part of the run: it goes on from there.
    assert resume(tmp_path / "run", progress=False).step == 8


def test_a_learning_rate_that_breaks_the_weights_saves_nothing_broken(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(NonFinite):
        fit(make_spec("optimizer.lr=1e38", "schedule.warmup_steps=0"), tmp_path / "run", progress=False)
    for path in checkpoint.listing(tmp_path / "run" / "checkpoints"):
        assert all(torch.isfinite(tensor).all() for tensor in checkpoint.read(path)["state_dict"].values())


def test_a_sample_can_hold_anything_and_still_be_cut_at_its_step(tmp_path: Path) -> None:
    path = tmp_path / "samples.txt"
    sample.add(path, 2, "a\n=== step 1 ===\r\x1b[2J\x00b")
    before = path.read_text()
    sample.add(path, 4, "later")
    sample.cut(path, 3)
    assert path.read_text() == before
    assert "\x1b" not in before
    assert "\x00" not in before


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"sample={{prompt: {'a' * 40}, every_n_steps: 1000}}", r"`sample\.prompt` takes 40 tokens.*max_length of 32"),
        ("start.from=runs/that/is/not/there", "runs/that/is/not/there does not exist"),
        ("data.source.path=texts/that/are/not/there", "texts/that/are/not/there does not exist"),
        ("model.max_length=4000 | data.length=4000", r"the train split .* holds .* one sample takes 4,001"),
        ("trainer.devices=3 | trainer.strategy=ddp", "a batch of 8 samples cannot be shared equally by 3 processes"),
    ],
)
def test_what_is_wrong_with_a_spec_shows_before_its_folder_is_taken(
    override: str, said: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        fit(make_spec(*override.split(" | ")), tmp_path / "run", progress=False)
    assert fit(make_spec("trainer.max_steps=2"), tmp_path / "run", progress=False).status == "finished"


def test_the_module_trains_under_any_lightning_trainer(make_spec: MakeSpec) -> None:
    from blueprint.training.data_module import BlueprintData
    from blueprint.training.trainer import quiet

    spec = make_spec("trainer.max_steps=40", "schedule=constant")
    module = bp.compile(spec)
    with quiet():
        trainer = pl.Trainer(
            max_steps=40,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=2,
        )
        trainer.fit(module, datamodule=BlueprintData(spec))
    assert trainer.callback_metrics["val_loss"] < 4.5
