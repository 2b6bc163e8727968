"""k steps, a stop of any kind, then on to N: the same run as N steps at one go, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blueprint.diagnosis import SpecError
from blueprint.schema.spec import Spec
from blueprint.training import checkpoint as checkpoints
from blueprint.training.folder import plain_spec, yaml_text
from blueprint.training.run import fit, resume
from blueprint.training.verify import verify_resume
from tests.training.conftest import LABELLED, PAIRS, MakeSpec
from tests.training.watching import Crash, Power, Signal, Trace, assert_same_run

MASKED = [
    *("model.type=encoder", "model.d_model=32", "model.layers=2", "model.max_length=32"),
    *("model.block.attention.heads=2", "model.block.dropout=0.1", "tokenizer.mask=true", "objective=masked"),
]

# An epoch of the test's text has four batches; dropout is on throughout.
CASES = {
    "in the middle of an epoch": ([], Crash(6)),
    "at the end of an epoch": ([], Crash(4)),
    "some steps after a checkpoint": (["checkpoint.every_n_steps=3"], Crash(5)),
    "before the first checkpoint": (["checkpoint.every_n_steps=3"], Crash(2)),
    "after a validation": (["trainer.val_check_interval=3"], Crash(3)),
    "after a validation at the end of an epoch": (["trainer.val_check_interval=4"], Crash(4)),
    "while accumulating and clipping": (
        ["trainer.accumulate_grad_batches=3", "trainer.gradient_clip_val=0.1", "trainer.val_check_interval=5"],
        Crash(6),
    ),
    "by SIGTERM in the middle of an accumulation": (["trainer.accumulate_grad_batches=3"], Signal(5)),
    "by SIGINT": ([], Signal(3, signal.SIGINT)),
    "by SIGTERM before a validation": (["trainer.val_check_interval=3"], Signal(3)),
    "with data in order and workers": (["data.shuffle=false", "data.workers=1"], Signal(2)),
    "while hiding tokens": (MASKED, Crash(6)),
    "while hiding tokens in data in order with workers": (
        [*MASKED, "data.shuffle=false", "data.workers=2", "trainer.val_check_interval=3"],
        Crash(5),
    ),
    "over pairs of texts": ([*PAIRS, "trainer.val_check_interval=3"], Crash(6)),
    "of a spoilt text with a worker": (
        ["model.type=encoder_decoder", *MASKED[1:], "objective=denoising", "data.workers=1"],
        Crash(5),
    ),
    "over labelled texts with a worker": ([*LABELLED, "data.workers=1"], Signal(5)),
    "in bf16": (["trainer.precision=bf16-mixed"], Crash(3)),
    **{f"under {name}": ([f"optimizer={name}"], Crash(3)) for name in ("sgd", "lion", "adafactor", "muon")},
    "under muon with adafactor in bf16": (
        ["optimizer=muon", "optimizer.rest=adafactor", "trainer.precision=bf16-true"],
        Crash(3),
    ),
}


def stopped_and_resumed(spec: Spec, folder: Path, stop: Crash | Signal) -> Trace:
    seen = Trace()
    if isinstance(stop, Crash):
        with pytest.raises(Power):
            fit(spec, folder, progress=False, callbacks=[stop, seen])
    else:
        run = fit(spec, folder, progress=False, callbacks=[stop, seen])
        assert run.status == "interrupted"
        assert 0 < run.step < run.steps
        assert checkpoints.listing(folder / "checkpoints")[-1].name == checkpoints.name(run.step)
    run = resume(folder, progress=False, callbacks=[seen])
    assert (run.status, run.step) == ("finished", run.steps)
    return seen


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Spec], tuple[Path, Trace]]:
    """The run of a spec that never stopped; made once for equal specs."""
    made: dict[str, tuple[Path, Trace]] = {}

    def whole(spec: Spec) -> tuple[Path, Trace]:
        key = str(spec.to_plain())
        if key not in made:
            folder, seen = tmp_path_factory.mktemp("whole") / "run", Trace()
            fit(spec, folder, progress=False, callbacks=[seen])
            made[key] = folder, seen
        return made[key]

    return whole


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped(
    case: str, make_spec: MakeSpec, whole_runs: Callable[[Spec], tuple[Path, Trace]], tmp_path: Path
) -> None:
    overrides, stop = CASES[case]
    spec = make_spec(*overrides)
    whole, seen = whole_runs(spec)
    again = stopped_and_resumed(spec, tmp_path / "broken", stop)
    assert_same_run(whole, seen, tmp_path / "broken", again)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("validate", [4, 5])
def test_whatever_batch_it_is_stopped_at(accumulate: int, validate: int, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(
        f"trainer.accumulate_grad_batches={accumulate}",
        f"trainer.val_check_interval={validate}",
        "checkpoint.every_n_steps=2",
    )
    seen = Trace()
    fit(spec, tmp_path / "whole", progress=False, callbacks=[seen])
    for at in range(1, max(seen.seen)):
        again = Trace()
        with pytest.raises(Power):
            fit(spec, tmp_path / f"crash{at}", progress=False, callbacks=[Crash(at), again])
        resume(tmp_path / f"crash{at}", progress=False, callbacks=[again])
        assert_same_run(tmp_path / "whole", seen, tmp_path / f"crash{at}", again)
        again = Trace()
        fit(spec, tmp_path / f"signal{at}", progress=False, callbacks=[Signal(at), again])
        resume(tmp_path / f"signal{at}", progress=False, callbacks=[again])
        assert_same_run(tmp_path / "whole", seen, tmp_path / f"signal{at}", again)


def test_a_finished_run_goes_on_as_if_it_had_been_longer(make_spec: MakeSpec, tmp_path: Path) -> None:
    longer, seen, again = make_spec("schedule=constant"), Trace(), Trace()
    fit(longer, tmp_path / "whole", progress=False, callbacks=[seen])
    fit(make_spec("schedule=constant", "trainer.max_steps=3"), tmp_path / "two", progress=False, callbacks=[again])
    run = resume(tmp_path / "two", ["trainer.max_steps=8"], progress=False, callbacks=[again])
    assert run.step == 8
    # The shorter run ended with a validation of its own.
    table = tmp_path / "two" / "metrics.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    for name in ("validation_loss", "validation_bits_per_byte"):
        lines[3][lines[0].index(name)] = ""
    table.write_text("".join(",".join(line) + "\n" for line in lines))
    assert_same_run(tmp_path / "whole", seen, tmp_path / "two", again)


DIES_WHILE_SAVING = """
import os, signal, sys, torch
from blueprint.load import load
from blueprint.training.run import fit
save, count = torch.save, 0
def dying(value, file):
    global count
    count += 1
    save(value, file)
    if count == 5:
        file.truncate(file.tell() // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = dying
fit(load(sys.argv[1]), sys.argv[2], progress=False)
"""


def test_a_run_killed_while_it_writes_a_checkpoint_resumes_exactly(
    make_spec: MakeSpec, whole_runs: Callable[[Spec], tuple[Path, Trace]], tmp_path: Path
) -> None:
    spec, again = make_spec(), Trace()
    whole, seen = whole_runs(spec)
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(spec)))
    broken = tmp_path / "broken"
    command = [sys.executable, "-c", DIES_WHILE_SAVING, str(tmp_path / "spec.yaml"), str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path.name for path in (broken / "checkpoints").iterdir() if path.name.startswith(".")]
    assert left, "the test must have died in the middle of a file"
    run = resume(broken, progress=False, callbacks=[again])
    assert run.step == 8
    # The killed process took its trace along; from step 4 on it is told again.
    again.seen = {batch: seen.seen[batch] for batch in range(1, 5)} | again.seen
    assert min(again.seen.keys() - {1, 2, 3, 4}) == 5
    assert_same_run(whole, seen, broken, again)
    assert not [path for path in (broken / "checkpoints").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_verify_resume_finds_a_resumed_run_the_same(make_spec: MakeSpec, tmp_path: Path) -> None:
    report = verify_resume(make_spec("trainer.accumulate_grad_batches=2"), steps=7, stop=3, folder=tmp_path)
    assert report.ok, str(report)
    assert (report.batches, report.losses) == (14, 14)
    assert report.weights > 0
    assert report.optimizer > 0


@pytest.mark.slow
def test_verify_resume_finds_a_difference_where_there_is_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    from blueprint.training.verify import Report, compare

    verify_resume(make_spec(), steps=4, stop=2, folder=tmp_path)
    path = checkpoints.listing(tmp_path / "broken" / "checkpoints")[-1]
    content = checkpoints.read(path)
    next(iter(content["state_dict"].values())).view(-1)[0] += 1e-6
    checkpoints.write(path, content)
    report = compare(tmp_path / "whole", tmp_path / "broken", Report(4, 2, 3))
    assert not report.ok
    assert "weight" in str(report)


STOPS_TWICE = """
import os, signal, sys, time
import lightning.pytorch as pl
from blueprint.load import load
from blueprint.training.run import fit
class Twice(pl.Callback):
    def on_train_batch_end(self, trainer, *rest):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
fit(load(sys.argv[1]), sys.argv[2], progress=False, callbacks=[Twice()])
"""


@pytest.mark.slow
def test_a_second_interrupt_leaves_at_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(make_spec())))
    command = [sys.executable, "-c", STOPS_TWICE, str(tmp_path / "spec.yaml"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGINT
    newest, damaged = checkpoints.newest_whole(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.name == checkpoints.name(2)
    assert not damaged


def test_code_that_only_a_checkpoint_names_is_not_run(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The run's own spec names none: whoever put it there is not who wrote the run."""
    fit(make_spec("trainer.max_steps=2"), tmp_path / "run", progress=False)
    newest = checkpoints.listing(tmp_path / "run" / "checkpoints")[-1]
    content = checkpoints.read(newest)
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    content["blueprint"]["spec"]["plugins"] = [str(tmp_path / "planted.py")]
    checkpoints.write(newest, content)
    with open(tmp_path / "run" / "spec.yaml", "a", encoding="utf-8") as spec:
        spec.write("plugins: []\n")
    with pytest.raises(SpecError, match="planted"):
        resume(tmp_path / "run", ["trainer.max_steps=4"], progress=False)
    assert not (tmp_path / "ran").exists()
