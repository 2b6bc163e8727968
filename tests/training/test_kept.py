"""What a tokenizer is made of stays with the run: nothing outside the folder, or the checkpoint, is needed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.inference.sampling import Sampling
from blueprint.inference.text import TextGenerator
from blueprint.registry import member
from blueprint.training.error import TrainError
from blueprint.training.evaluate import evaluate
from blueprint.training.restore import read_spec

from .conftest import MakeSpec

LETTERS: str = member("tokenizer", "file").examples()[0]["path"]


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "letters.json"
    path.parent.mkdir()
    shutil.copy(LETTERS, path)
    return path


def written(where: Path) -> str:
    model: Any = bp.restore(where)
    return TextGenerator(model, model.spec.tokenizer).complete("the", max_new_tokens=8, sampling=Sampling(0)).text


def test_a_run_goes_on_and_writes_without_the_original(
    make_spec: MakeSpec, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    bp.fit(make_spec("tokenizer=file", f"tokenizer.path={original}", "trainer.max_steps=3"), run, progress=False)
    text, weights = written(run), bp.restore(run).state_dict()
    original.unlink()
    moved = tmp_path / "moved"
    run.rename(moved)
    assert read_spec(moved).tokenizer.path == str(moved / "tokenizer.json")  # type: ignore[union-attr]
    assert written(moved) == text
    assert evaluate(moved)["tokens"] > 0
    assert bp.resume(moved, ["trainer.max_steps=5"], progress=False).step == 5
    assert (moved / "tokenizer.json").read_bytes() == Path(LETTERS).read_bytes()
    # A checkpoint alone, carried anywhere, is enough as well.
    shutil.copy(moved / "checkpoints" / "step=000003.ckpt", tmp_path / "step=000003.ckpt")
    shutil.rmtree(moved)
    shutil.rmtree(tmp_path / "cache")
    alone = tmp_path / "step=000003.ckpt"
    assert written(alone) == text
    assert all(torch.equal(value, weights[name]) for name, value in bp.restore(alone).state_dict().items())


def test_another_file_in_its_place_is_not_taken_for_it(
    make_spec: MakeSpec, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    bp.fit(make_spec("tokenizer=file", f"tokenizer.path={original}", "trainer.max_steps=2"), run, progress=False)
    original.write_text(original.read_text().replace("<mask>", "<other>"))
    model: Any = bp.restore(run / "checkpoints" / "step=000002.ckpt")
    assert "<mask>" in model.spec.tokenizer.content.ids
    (run / "tokenizer.json").write_text(original.read_text())
    with pytest.raises(TrainError, match="tokenizer"):
        bp.resume(run, ["trainer.max_steps=4"], progress=False)


def test_a_build_holds_its_tokenizer(make_spec: MakeSpec, original: Path, tmp_path: Path) -> None:
    spec = make_spec("tokenizer=file", f"tokenizer.path={original}")
    built = build_folder(spec, tmp_path / "build", weights=True)
    assert "tokenizer.json" in built.files
    original.unlink()
    model: Any = bp.restore(tmp_path / "build")
    assert model.spec.tokenizer.decode(model.spec.tokenizer.encode("both ways")) == "both ways"
    assert build_folder(model.spec, tmp_path / "build", weights=True).plan.hash == built.plan.hash


def test_a_checkpoint_carries_a_file_that_is_no_text(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    pieces = Path(__file__).parents[1] / "registry" / "tokenizer" / "sentencepiece" / "unigram.model"
    shutil.copy(pieces, tmp_path / "pieces.model")
    run = tmp_path / "run"
    said = ("tokenizer=file", f"tokenizer.path={tmp_path / 'pieces.model'}", "data.batch_size=2")
    bp.fit(make_spec(*said, "trainer.max_steps=2"), run, progress=False)
    text = written(run)
    assert (run / "tokenizer.model").read_bytes() == pieces.read_bytes()
    (tmp_path / "pieces.model").unlink()
    shutil.copy(run / "checkpoints" / "step=000002.ckpt", tmp_path / "step=000002.ckpt")
    shutil.rmtree(run)
    assert written(tmp_path / "step=000002.ckpt") == text
