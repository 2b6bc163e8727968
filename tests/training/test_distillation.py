"""A teacher stands beside a run: it is found, held against the spec, asked, and never changed or stored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.training import metrics
from blueprint.training.checkpoint import read
from blueprint.training.error import TrainError
from blueprint.training.evaluate import evaluate
from blueprint.training.folder import plain_spec, yaml_text
from blueprint.training.verify import verify_resume

from .conftest import LABELLED, SPEC, MakeSpec

TEACHER = "model.d_model=48"
DISTILLED = ("objective.type=distillation", "objective.hard=causal")
MASKED = (
    *("model.type=encoder", "model.d_model=32", "model.layers=1", "model.max_length=32"),
    *("model.block.attention.heads=2", "tokenizer.mask=true"),
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLUEPRINT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def teacher(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a wider model, with dropout."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    bp.fit(bp.loads(SPEC.replace("TEXT", str(text)), overrides=[TEACHER]), folder, progress=False)
    return folder


@pytest.fixture
def student(make_spec: MakeSpec, teacher: Path) -> MakeSpec:
    return lambda *said: make_spec(*DISTILLED, f"objective.teacher={teacher}", *said)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return bp.restore(run).state_dict()


def apart(a: Path, b: Path) -> float:
    one, other = weights(a), weights(b)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_the_teacher_is_as_it_was_and_in_no_checkpoint(student: MakeSpec, teacher: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class Look(pl.Callback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            seen["model"] = module.asked.models["teacher"]
            seen["before"] = {n: v.clone() for n, v in seen["model"].state_dict().items()}
            seen["mine"] = {id(p) for p in module.parameters()}

    bp.fit(student(), tmp_path / "run", progress=False, callbacks=[Look()])
    after = seen["model"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in seen["before"].items())
    assert not any(p.requires_grad or id(p) in seen["mine"] for p in seen["model"].parameters())
    assert not seen["model"].training
    stored = read(tmp_path / "run" / "checkpoints" / "step=000008.ckpt")
    assert {name.removeprefix("model.") for name in stored["state_dict"]} == set(weights(tmp_path / "run"))
    lock = json.loads((tmp_path / "run" / "lock.json").read_text())
    assert stored["blueprint"]["lock"]["asked"] == lock["asked"]
    assert list(lock["asked"]) == ["teacher"]
    assert all("distillation" in row for row in metrics.read(tmp_path / "run" / "metrics.csv"))


@pytest.mark.parametrize(
    "said",
    [
        "objective.temperature=5.0",
        "objective.alpha=0.1",
        "objective.hard={type: causal, label_smoothing: 0.2}",
        "objective.cache={top: 4}",
        "objective.cache={numbers: float16}",
    ],
)
def test_every_key_changes_what_is_learned(said: str, student: MakeSpec, tmp_path: Path) -> None:
    for name, overrides in (("plain", ()), ("said", (said,))):
        bp.fit(student("trainer.max_steps=3", *overrides), tmp_path / name, progress=False)
    assert apart(tmp_path / "plain", tmp_path / "said") > 0


def test_the_numbers_of_a_cache_and_another_teacher_change_what_is_learned(
    student: MakeSpec, make_spec: MakeSpec, tmp_path: Path
) -> None:
    bp.fit(make_spec("seed=3"), tmp_path / "other", progress=False)
    said = {
        "half": "objective.cache={}",
        "single": "objective.cache={numbers: float32}",
        "others": f"objective.teacher={tmp_path / 'other'}",
    }
    for name, override in said.items():
        bp.fit(student("trainer.max_steps=3", override), tmp_path / name, progress=False)
    assert 0 < apart(tmp_path / "half", tmp_path / "single") < 1e-2
    assert apart(tmp_path / "single", tmp_path / "others") > 1e-4


def test_kept_answers_are_the_teachers_and_the_same_when_asked_again(
    student: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    bp.fit(student(), tmp_path / "asked", progress=False)
    kept = student("objective.cache={numbers: float32}", "data.workers=1")
    bp.fit(kept, tmp_path / "kept", progress=False)
    assert apart(tmp_path / "asked", tmp_path / "kept") < 1e-5
    (answers,) = (path for path in (tmp_path / "cache" / "answers").iterdir() if path.is_dir())
    before = {path.name: path.read_bytes() for path in answers.iterdir()}
    assert set(before) == {"index.json", "soft.bin"}
    shutil.rmtree(answers)
    # Other batches and another order ask for the same answers.
    bp.fit(kept, tmp_path / "again", progress=False)
    assert {path.name: path.read_bytes() for path in answers.iterdir()} == before
    assert apart(tmp_path / "kept", tmp_path / "again") == 0
    bp.fit(student("objective.cache={numbers: float32}", "data.batch_size=4"), tmp_path / "four", progress=False)
    assert len([path for path in answers.parent.iterdir() if path.is_dir()]) == 1
    (answers / "soft.bin").write_bytes(before["soft.bin"][:-4])
    bp.fit(kept, tmp_path / "mended", progress=False)
    assert apart(tmp_path / "kept", tmp_path / "mended") == 0


@pytest.mark.parametrize("cache", ["null", "{}"])
def test_a_resumed_run_is_the_run_without_a_stop(cache: str, student: MakeSpec, tmp_path: Path) -> None:
    said = (f"objective.cache={cache}", "schedule=constant")
    bp.fit(student(*said), tmp_path / "whole", progress=False)
    bp.fit(student(*said, "trainer.max_steps=5"), tmp_path / "parted", progress=False)
    bp.resume(tmp_path / "parted", ["trainer.max_steps=8"], progress=False)
    assert apart(tmp_path / "whole", tmp_path / "parted") == 0


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["null", "{top: 8}"])
def test_a_killed_run_goes_on_exactly_from_a_spec_with_a_relative_path(
    cache: str, teacher: Path, text: Path, tmp_path: Path
) -> None:
    shutil.copytree(teacher, tmp_path / "runs" / "large")
    said = SPEC.replace("TEXT", str(text))
    objective = f"objective: {{type: distillation, hard: causal, teacher: ../runs/large, cache: {cache}}}\n"
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "small.yaml").write_text(said + objective)
    report = verify_resume(bp.load(tmp_path / "specs" / "small.yaml"), steps=6, stop=3, folder=tmp_path / "verify")
    assert report.ok, str(report)


@pytest.mark.slow
def test_two_processes_ask_and_learn_what_one_does(
    student: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = student("model.block.dropout=0.0", "objective.cache={numbers: float32}")
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(said)))
    # A file: Lightning starts the second process by running it again.
    (tmp_path / "main.py").write_text("from blueprint.cli.main import main\nmain()\n")
    command = [sys.executable, str(tmp_path / "main.py"), "train", str(tmp_path / "spec.yaml"), "-q"]
    for name, more in (("one", []), ("two", ["trainer.devices=2", "trainer.strategy=ddp"])):
        # Each asks the teacher afresh.
        monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / f"cache {name}"))
        subprocess.run([*command, "-o", str(tmp_path / name), *more], check=True, capture_output=True, timeout=300)
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-5


def test_a_relative_teacher_starts_from_its_file_and_is_needed_only_to_learn(
    teacher: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(teacher, tmp_path / "runs" / "large")
    path = tmp_path / "specs" / "small.yaml"
    path.parent.mkdir()
    said = "objective: {type: distillation, hard: causal, teacher: ../runs/large}\n"
    path.write_text(SPEC.replace("TEXT", str(text)) + said)
    run = tmp_path / "run"
    bp.fit(bp.load(path, ["trainer.max_steps=4"]), run, progress=False)
    monkeypatch.chdir(tmp_path / "specs")
    assert bp.resume(run, ["trainer.max_steps=6"], progress=False).step == 6
    (tmp_path / "runs" / "large").rename(tmp_path / "gone")
    assert evaluate(run)["tokens"] > 0
    with pytest.raises(bp.SpecError, match=r"spec\.yaml:\d+:\d+  objective\.teacher\n.*\n.*large does not exist"):
        bp.resume(run, ["trainer.max_steps=8"], progress=False)
    assert bp.restore(run).trained_steps == 6


def test_another_teacher_in_its_place_is_not_taken_for_it(
    student: MakeSpec, teacher: Path, make_spec: MakeSpec, tmp_path: Path
) -> None:
    shutil.copytree(teacher, tmp_path / "large")
    said = student(f"objective.teacher={tmp_path / 'large'}", "trainer.max_steps=4")
    bp.fit(said, tmp_path / "run", progress=False)
    bp.resume(tmp_path / "large", ["trainer.max_steps=9"], progress=False)
    with pytest.raises(TrainError, match="the run's teacher has changed since it began"):
        bp.resume(tmp_path / "run", ["trainer.max_steps=6"], progress=False)
    # A checkpoint stays what it is.
    named = student(f"objective.teacher={tmp_path / 'large' / 'checkpoints' / 'step=000008.ckpt'}")
    bp.fit(named, tmp_path / "named", progress=False)
    assert (
        read(tmp_path / "named" / "checkpoints" / "step=000008.ckpt")["blueprint"]["lock"]["asked"]
        == (json.loads((tmp_path / "run" / "lock.json").read_text())["asked"])
    )


def test_a_build_folder_is_a_teacher_too(student: MakeSpec, make_spec: MakeSpec, tmp_path: Path) -> None:
    build_folder(make_spec(TEACHER), tmp_path / "build", weights=True)
    bp.fit(student(f"objective.teacher={tmp_path / 'build'}", "trainer.max_steps=2"), tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("hard", "said"),
    [("masked", MASKED), ("classification", tuple(each for each in LABELLED if not each.startswith("objective")))],
)
def test_other_questions_are_asked_as_well(
    hard: str, said: tuple[str, ...], make_spec: MakeSpec, tmp_path: Path
) -> None:
    bp.fit(make_spec(*said, f"objective={hard}", "model.layers=2"), tmp_path / "large", progress=False)
    asked = (*DISTILLED[:1], f"objective.hard={hard}", f"objective.teacher={tmp_path / 'large'}")
    run = bp.fit(make_spec(*said, *asked), tmp_path / "run", progress=False)
    rows = metrics.read(tmp_path / "run" / "metrics.csv")
    assert rows[-1]["distillation"] > 0
    assert ("accuracy" in run.summary["scores"]) == (hard == "classification")


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
def test_the_teacher_computes_as_its_student_does(precision: str, student: MakeSpec, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class Look(pl.Callback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            seen.update({n: str(p.dtype) for n, p in module.asked.models["teacher"].named_parameters()})
            seen["own"] = {str(p.dtype) for p in module.model.parameters()}

    said = student(f"trainer.precision={precision}", "trainer.max_steps=2")
    bp.fit(said, tmp_path / "run", progress=False, callbacks=[Look()])
    assert {v for n, v in seen.items() if n != "own"} == seen["own"]


Misfit = tuple[tuple[str, ...], str]
MISFITS: dict[str, Misfit] = {
    "vocabulary": (("tokenizer.sentinels=2",), "its vocabulary has 259 tokens, and this model's 257"),
    "length": (("model.max_length=8", "data.length=8"), "samples of 16 tokens do not fit the model's max_length 8"),
    "model": ((*MASKED, "objective=masked"), "trains models of type decoder, not encoder"),
    "tokenizer": (("model.vocab_size=257", "tokenizer={type: bpe, vocab_size: 257}"), "its tokenizer is another"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_a_teacher_that_does_not_fit_is_told_where_it_is_said(
    what: str, make_spec: MakeSpec, student: MakeSpec, tmp_path: Path
) -> None:
    said, message = MISFITS[what]
    bp.fit(make_spec(*said, "trainer.max_steps=2"), tmp_path / "large", progress=False)
    with pytest.raises(bp.SpecError, match=r"objective\.teacher") as error:
        bp.fit(student(f"objective.teacher={tmp_path / 'large'}"), tmp_path / "run", progress=False)
    assert message in str(error.value)
    assert not (tmp_path / "run" / "spec.yaml").exists()


def test_labels_that_differ_are_told(make_spec: MakeSpec, tmp_path: Path) -> None:
    said = tuple(each for each in LABELLED if not each.startswith("objective"))
    bp.fit(make_spec(*said, "objective=classification", "model.head.labels=3"), tmp_path / "large", progress=False)
    asked = (*DISTILLED[:1], "objective.hard=classification", f"objective.teacher={tmp_path / 'large'}")
    with pytest.raises(bp.SpecError, match="its head tells 3 labels apart, and this model's 2"):
        bp.fit(make_spec(*said, *asked), tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "holds neither a run nor a model"),
        (lambda path: path.write_bytes(b"nothing"), "gives no model"),
    ],
)
def test_what_is_no_model_is_told_where_it_is_said(
    make: Callable[[Path], Any], message: str, student: MakeSpec, tmp_path: Path
) -> None:
    make(tmp_path / "large")
    with pytest.raises(bp.SpecError, match=r"objective\.teacher") as error:
        bp.fit(student(f"objective.teacher={tmp_path / 'large'}"), tmp_path / "run", progress=False)
    assert message in str(error.value)
    assert not (tmp_path / "run" / "spec.yaml").exists()
