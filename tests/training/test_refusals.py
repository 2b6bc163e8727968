"""What a run will not go on from, and that refusing it changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.training import checkpoint
from blueprint.training.error import RestoreError, TrainError
from blueprint.training.run import fit, resume
from tests.training.conftest import SPEC, MakeSpec
from tests.training.watching import contents


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = bp.loads(SPEC.replace("TEXT", str(text)), overrides=["checkpoint={every_n_steps: 3, keep: 2}"])
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(spec, folder, progress=False)
    return folder


def test_with_no_whole_checkpoint_nothing_is_thrown_away(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for path in checkpoint.listing(tmp_path / "run" / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-5])
    before = contents(tmp_path / "run")
    with pytest.raises(RestoreError, match=r"none of the run's checkpoints is whole.*\n.*step=000008.ckpt"):
        resume(tmp_path / "run", progress=False)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("kind", ["renamed", "of another model", "foreign", "code"])
def test_a_checkpoint_that_is_not_of_this_run_is_refused_and_left_alone(
    kind: str, run: Path, make_spec: MakeSpec, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    put = tmp_path / "run" / "checkpoints" / checkpoint.name(12)
    if kind == "renamed":
        shutil.copy(checkpoint.listing(put.parent)[-1], put)
    elif kind == "of another model":
        fit(make_spec("model.layers=1", "trainer.max_steps=12"), tmp_path / "other", progress=False)
        shutil.copy(checkpoint.listing(tmp_path / "other" / "checkpoints")[-1], put)
    else:
        torch.save({"state_dict": {}, "blueprint": Path("x") if kind == "code" else 1}, put)
    before = contents(tmp_path / "run")
    # Also where there is nothing left to train, and it would never have been read.
    for steps in (12, 20):
        with pytest.raises(RestoreError, match=checkpoint.name(12)):
            resume(tmp_path / "run", [f"trainer.max_steps={steps}"], progress=False)
    assert contents(tmp_path / "run") == before


def test_a_lost_lock_is_in_the_checkpoint_too(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "lock.json").unlink()
    assert resume(tmp_path / "run", progress=False).step == 8
    assert (tmp_path / "run" / "lock.json").read_text() == (run / "lock.json").read_text()


def test_a_run_is_not_made_shorter_than_it_is(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(TrainError, match="at step 8 already, past the 5"):
        resume(tmp_path / "run", ["trainer.max_steps=5"], progress=False)
    assert contents(tmp_path / "run") == before
