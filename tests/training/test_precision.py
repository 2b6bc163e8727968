"""A precision that the device has not is refused by name, before anything runs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint.schema.trainer import Trainer
from blueprint.training import precision
from blueprint.training.error import TrainError
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec
from tests.training.watching import Power

#: A spec with a model that no machine has to build.
BARE: dict[str, Any] = {
    "model": {"type": "decoder", "d_model": 16, "layers": 1, "vocab_size": 8, "block": {"attention": {"heads": 2}}},
    "trainer": {"accelerator": "cpu"},
}


def test_float16_without_scaling_is_refused_on_the_cpu_and_a_choice_offered() -> None:
    with pytest.raises(TrainError, match="`16-true` does not train on cpu") as found:
        precision.check_precision("16-true", "cpu")
    assert "32-true" in str(found.value)


def test_every_precision_of_the_language_is_either_refused_or_works_on_the_cpu() -> None:
    language = set(Trainer.model_fields["precision"].annotation.__args__)  # type: ignore[union-attr]
    assert language == set(precision.PRECISIONS)
    works = language - {name for device, name in precision.REFUSED if device == "cpu"}
    assert works == {"32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"}
    for name in works:
        precision.check_precision(name, "cpu")


@pytest.mark.parametrize("name", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_slow_formats_are_allowed_and_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_format", lambda device, kind: False)
    (warning,) = precision.check_precision(name, "cpu")
    assert "slower" in warning
    monkeypatch.setattr(precision, "has_format", lambda device, kind: True)
    assert precision.check_precision(name, "cpu") == []


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


CUDA = "trainer.accelerator=cuda"

#: What a policy says, by the key that is wrong with it, and a word of the reason.
IDLE = {
    "float32": ("32-true", "precision.float32=[norm]", "nothing is computed in 16 bits"),
    "init_scale": ("bf16-mixed", "precision.init_scale=8", "float16 alone"),
    "growth_interval": ("16-true", "precision.growth_interval=8", "scales no loss"),
    "float32_matmul_precision": ("64-true", "precision.float32_matmul_precision=high", "no matrix is float32"),
}


@pytest.mark.parametrize("key", IDLE)
def test_a_key_that_would_change_nothing_is_an_error_there(key: str, make_spec: MakeSpec) -> None:
    name, said, why = IDLE[key]
    with pytest.raises(bp.SpecError, match=why) as found:
        make_spec(f"trainer.precision={name}", CUDA, said)
    assert [problem.key for problem in found.value.problems] == [f"precision.{key}"]


@pytest.mark.parametrize(
    ("said", "device", "why"),
    [
        (["precision.float32_matmul_precision=high"], "cpu", "the CPU, which has no TF32"),
        (["precision.float32_matmul_precision=medium"], "cuda", "`medium` just as `high`"),
        (["precision.float32_matmul_precision=high"], "mps", "Apple"),
        (
            [
                "precision.float32_matmul_precision=high",
                "precision.float32=[norm, softmax]",
                "trainer.precision=bf16-true",
            ],
            "cuda",
            "neither `head` nor `router`",
        ),
        (["precision.float8=rowwise"], "cuda", "beside bfloat16, not `32-true`"),
        (["precision.float8=rowwise", "trainer.precision=bf16-true"], "cpu", "does not train on cpu.*8.9"),
        (["precision={}"], "cpu", "says nothing"),
    ],
)
def test_what_a_device_cannot_is_refused_by_name(said: list[str], device: str, why: str, make_spec: MakeSpec) -> None:
    with pytest.raises(bp.SpecError, match=why):
        make_spec(f"trainer.accelerator={device}", *said)


def test_what_auto_came_to_mean_is_held_against_the_policy(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(CUDA, "precision.float32_matmul_precision=high")
    monkeypatch.setattr(precision, "device_of", lambda accelerator: "cpu")
    with pytest.raises(TrainError, match="no TF32"):
        precision.check_policy(spec)
    monkeypatch.setattr(precision, "device_of", lambda accelerator: "cuda")
    monkeypatch.setattr(precision, "capability", lambda: (7, 5))
    with pytest.raises(TrainError, match=r"compute capability 8\.0, and its is 7\.5"):
        precision.check_policy(spec)
    monkeypatch.setattr(precision, "capability", lambda: (8, 0))
    assert precision.check_policy(spec) == []


def test_float8_names_what_is_missing(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(CUDA, "trainer.precision=bf16-mixed", "precision.float8=tensorwise")
    monkeypatch.setattr(precision, "device_of", lambda accelerator: "cuda")
    monkeypatch.setattr(precision, "capability", lambda: (8, 6))
    with pytest.raises(TrainError, match=r"8\.9 .* its is 8\.6"):
        precision.check_policy(spec)
    monkeypatch.setattr(precision, "capability", lambda: (9, 0))
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    with pytest.raises(TrainError, match="needs torchao"):
        precision.check_policy(spec)
    monkeypatch.setattr(precision, "find_spec", lambda name: name)
    (warning,) = precision.check_policy(spec)
    assert "compile" in warning


class Products(pl.Callback):
    """Notes how float32 matrices are multiplied while a run trains, and may end it."""

    def __init__(self, fails: bool) -> None:
        self.seen, self.fails = "", fails

    def on_train_batch_start(self, *_: Any) -> None:
        self.seen = torch.get_float32_matmul_precision()
        if self.fails:
            raise Power


@pytest.mark.parametrize("fails", [False, True])
def test_float32_products_are_as_said_while_training_and_afterwards_as_they_were(
    fails: bool, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_format", lambda device, kind: True)
    watch, before = Products(fails), torch.get_float32_matmul_precision()
    spec = make_spec("precision.float32_matmul_precision=medium", "trainer.max_steps=2")
    with pytest.raises(Power) if fails else nullcontext():
        fit(spec, tmp_path / "run", progress=False, callbacks=[watch])
    assert (watch.seen, torch.get_float32_matmul_precision()) == ("medium", before)


def test_medium_products_round_exactly_where_the_cpu_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = bp.load({**BARE, "precision": {"float32_matmul_precision": "medium"}})
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = (a.double() @ b.double()).float()
    assert (a @ b - exact).abs().max() < 1e-3
    with precision.products(spec):
        rounded = bool((a @ b - exact).abs().max() > 1e-2)
    assert rounded == precision.has_format("cpu", "bf16")
    monkeypatch.setattr(precision, "has_format", lambda device, kind: False)
    with pytest.raises(TrainError, match="no bf16 instructions"):
        precision.check_policy(spec)
