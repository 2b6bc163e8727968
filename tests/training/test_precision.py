"""A precision that the device has not is refused by name, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blueprint.schema.trainer import Trainer
from blueprint.training import precision
from blueprint.training.error import TrainError
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec


@pytest.mark.parametrize("wanted", ["16-mixed", "16-true"])
def test_half_precision_is_refused_on_the_cpu_and_a_choice_offered(wanted: str) -> None:
    with pytest.raises(TrainError, match=f"`{wanted}` does not train on cpu") as found:
        precision.check_precision(wanted, "cpu")
    assert "32-true" in str(found.value)


def test_every_precision_of_the_language_is_either_refused_or_works_on_the_cpu() -> None:
    language = set(Trainer.model_fields["precision"].annotation.__args__)  # type: ignore[union-attr]
    assert language == set(precision.PRECISIONS)
    works = language - {name for device, name in precision.REFUSED if device == "cpu"}
    assert works == {"32-true", "64-true", "bf16-mixed", "bf16-true"}
    for name in works:
        precision.check_precision(name, "cpu")


def test_slow_bf16_is_allowed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    (warning,) = precision.check_precision("bf16-mixed", "cpu")
    assert "slower" in warning
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    assert precision.check_precision("bf16-mixed", "cpu") == []


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainError, match="offers none"):
        precision.check_precision("32-true", "cuda")


def test_a_refusal_leaves_no_trace(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The spec's own rule judges what the file says; this is the machine's word, for `auto` on a machine with no GPU.
    monkeypatch.setattr(precision, "device_of", lambda accelerator: "mps")
    with pytest.raises(TrainError, match="64-bit"):
        fit(make_spec("trainer.precision=64-true"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["64-true", "bf16-true"])
def test_a_precision_that_works_trains_to_a_finite_loss(name: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    run = fit(make_spec(f"trainer.precision={name}", "trainer.max_steps=2"), tmp_path / "run", progress=False)
    assert 0 < run.summary["validation_loss"] < 7
    from blueprint.training.checkpoint import listing, read

    stored = {tensor.dtype for tensor in read(listing(tmp_path / "run" / "checkpoints")[-1])["state_dict"].values()}
    # Norms and head stay in float32 under 16 bits.
    assert stored == ({torch.float64} if name == "64-true" else {torch.bfloat16, torch.float32})
