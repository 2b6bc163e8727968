"""A model comes back from a run folder, from a checkpoint alone, or from a build folder; anything else is explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import blueprint as bp
from blueprint.training import checkpoint
from blueprint.training.error import RestoreError
from blueprint.training.evaluate import evaluate
from blueprint.training.folder import plain_spec, yaml_text
from blueprint.training.restore import load_weights, restore
from blueprint.training.run import fit
from tests.training.conftest import SPEC


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned a little."""
    spec = bp.loads(
        SPEC.replace("TEXT", str(text)),
        overrides=["trainer.max_steps=60", "checkpoint.every_n_steps=30", "trainer.log_every_n_steps=10"],
    )
    folder = tmp_path_factory.mktemp("trained") / "run"
    fit(spec, folder, progress=False)
    return folder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(torch.arange(16)[None]).logits
    return out


def test_a_checkpoint_file_alone_gives_the_model_of_its_run(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "anything.ckpt"
    shutil.copy(checkpoint.listing(run / "checkpoints")[-1], alone)
    model = restore(alone)
    assert torch.equal(logits(model), logits(restore(run)))
    assert model.spec.to_plain() == bp.load(run / "spec.yaml").to_plain()  # type: ignore[union-attr]
    assert not model.training
    earlier = restore(checkpoint.listing(run / "checkpoints")[0])
    assert not torch.equal(logits(model), logits(earlier))


def test_the_newest_whole_checkpoint_of_a_folder_is_taken(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    os.truncate(checkpoint.listing(folder / "checkpoints")[-1], 1000)
    assert restore(folder).trained_steps == 30
    os.truncate(checkpoint.listing(folder / "checkpoints")[0], 1000)
    with pytest.raises(RestoreError, match=r"step=000060\.ckpt is damaged"):
        restore(folder)


def test_a_spec_and_safetensors_are_enough(run: Path, tmp_path: Path) -> None:
    model = restore(run)
    (tmp_path / "spec.yaml").write_text(yaml_text(plain_spec(model.spec)))  # type: ignore[arg-type]
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(logits(restore(tmp_path)), logits(model))


def test_what_is_no_model_of_ours_is_explained(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"w": torch.ones(2)}, "pytorch-lightning_version": "2.6"}, foreign)
    for path, said in (
        (tmp_path / "nothing", "does not exist"),
        (tmp_path, "neither a run nor a model"),
        (foreign, "no checkpoint of Blueprint"),
    ):
        with pytest.raises(RestoreError, match=said):
            restore(path)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"\xff" * 100)
    with pytest.raises(RestoreError, match="cannot be read"):
        restore(garbage)


def test_restoring_needs_no_lightning() -> None:
    code = "import sys, blueprint.training.restore, blueprint.training.evaluate; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_all_weights_or_chosen_parts_are_taken_over(run: Path) -> None:
    trained = restore(run).state_dict()
    spec = bp.load(run / "spec.yaml", overrides=["seed=9"])
    model = bp.build(spec)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_weights(model, run, ["embedding", "layers.1"])
    assert report.taken
    for name, value in model.state_dict().items():
        chosen = name.startswith(("embedding.", "layers.1."))
        assert torch.equal(value, trained[name] if chosen else fresh[name])
        assert (name in report.taken) == chosen
    load_weights(model, run)
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())


def test_what_does_not_fit_is_named(run: Path) -> None:
    larger = bp.build(bp.load(run / "spec.yaml", overrides=["model.layers=3", "model.max_length=64"]))
    with pytest.raises(RestoreError, match=r"not there: layers\.2\.attention"):
        load_weights(larger, run)
    report = load_weights(larger, run, strict=False)
    assert report.missing
    assert all(name.startswith("layers.2.") for name in report.missing)
    wider = bp.build(bp.load(run / "spec.yaml", overrides=["model.d_model=64"]))
    with pytest.raises(RestoreError, match=r"of another shape: .*32.* there, .*64.* here"):
        load_weights(wider, run)
    with pytest.raises(RestoreError, match="no weight's name begins with `head_`"):
        load_weights(larger, run, ["head_"])


def test_a_run_may_start_from_anothers_weights(run: Path, tmp_path: Path) -> None:
    spec = bp.load(run / "spec.yaml", overrides=["trainer.max_steps=1", f"start.from={run}", "schedule.warmup_steps=0"])
    later = fit(spec, tmp_path / "more", progress=False)
    assert (
        later.summary["loss"]
        < 3.5
        < fit(
            bp.load(run / "spec.yaml", overrides=["trainer.max_steps=1", "schedule.warmup_steps=0"]),
            tmp_path / "fresh",
            progress=False,
        ).summary["loss"]
    )


def test_a_little_training_beats_token_frequencies(run: Path) -> None:
    found = evaluate(run)
    assert found["nats"] < found["unigram_nats"] - 0.3
    assert found["bits_per_byte"] < found["unigram_bits_per_byte"]
    assert found["step"] == 60
    assert evaluate(run, limit=1)["tokens"] <= found["tokens"]
