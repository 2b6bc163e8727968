"""Strategies are said by Lightning's names; what cannot be is told where it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

import blueprint as bp
from blueprint.registry import member
from blueprint.schema import strategy
from blueprint.schema.strategy import Strategy
from blueprint.training.strategies.parallel import Parallel

SPEC = "model: {type: decoder, d_model: 16, layers: 1, vocab_size: 16, max_length: 8, block: {attention: {heads: 2}}}"


def made(said: str, devices: int) -> Any:
    """What Lightning's Trainer is given."""
    spec = bp.loads(SPEC, overrides=[f"trainer.strategy={said}", f"trainer.devices={devices}"])
    return spec.trainer.strategy.chosen(devices).build(spec.model.site())


def sizes(said: str, devices: int) -> tuple[int, int]:
    """Devices that share a batch, and those over which each of them is cut."""
    found = made(said, devices)
    assert isinstance(found, Parallel)
    # As the Trainer does.
    found.parallel_devices = [object()] * devices  # type: ignore[list-item]
    return found.sizes


@pytest.mark.parametrize(
    ("said", "devices", "expected"),
    [
        ("model_parallel", 4, (4, 1)),
        ("{type: model_parallel, tensor_parallel_size: 2}", 8, (4, 2)),
        ("{type: model_parallel, tensor_parallel_size: auto, data_parallel_size: 2}", 8, (2, 4)),
        ("{type: model_parallel, tensor_parallel_size: 2, data_parallel_size: 3}", 6, (3, 2)),
    ],
)
def test_what_is_left_open_follows_from_the_devices(said: str, devices: int, expected: tuple[int, int]) -> None:
    assert sizes(said, devices) == expected


def test_several_devices_alone_mean_replicas() -> None:
    assert made("auto", 1) == "auto"
    assert isinstance(made("auto", 2), DDPStrategy)
    assert isinstance(made("ddp", 2), DDPStrategy)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("trainer.strategy={type: model_parallel, tensor_parallel_size: 3}", "3 devices, but that does not divide 4"),
        (
            "trainer.strategy={type: model_parallel, tensor_parallel_size: 2, data_parallel_size: 4}",
            "2 × 4 devices|4 × 2 devices, but there are 4",
        ),
        (
            "trainer.strategy={type: model_parallel, tensor_parallel_size: auto}",
            "one of two sizes must be said for the other to follow",
        ),
        ("trainer.strategy={type: model_parallel, expert_parallel_size: 3}", "3 does not divide the 4 devices"),
        (
            "trainer.strategy={type: model_parallel, expert_parallel_size: 4, tensor_parallel_size: 2}",
            "4 does not divide the 2 devices that share batches",
        ),
        ("trainer.strategy=model_paralel", "did you mean `model_parallel`"),
        ("trainer.strategy=model_parallel | trainer.precision=64-true", "`64-true` does not train under"),
        (
            "trainer.strategy={type: model_parallel, tensor_parallel_size: 2} | compile=true",
            "pieces of a model cannot be compiled",
        ),
    ],
)
def test_what_does_not_go_together_is_told_where_it_is_said(said: str, words: str) -> None:
    with pytest.raises(bp.SpecError, match=words):
        bp.loads(SPEC, overrides=["trainer.devices=4", *said.split(" | ")])


@pytest.mark.parametrize("name", ["fsdp", "deepspeed"])
def test_what_needs_a_cuda_device_is_refused_elsewhere_with_what_does_not(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = rf"`{name}` trains on CUDA devices only(.|\n)*`model_parallel`"
    with pytest.raises(bp.SpecError, match=said):
        bp.loads(SPEC, overrides=[f"trainer.strategy={name}", "trainer.accelerator=cpu"])
    # Where it is to run tells whether there is one.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    more = ["tokenizer=byte", "data.source=stdlib", "model.vocab_size=257", "trainer.max_steps=1"]
    spec = bp.loads(SPEC, overrides=[f"trainer.strategy={name}", *more])
    with pytest.raises(bp.SpecError, match=said):
        bp.fit(spec, tmp_path / "run")


def test_what_passes_through_to_lightning_is_said_by_its_names() -> None:
    from lightning.pytorch.strategies import StrategyRegistry

    found = [made(said, 2) for said in ("fsdp", "deepspeed", "{type: deepspeed, stage: 3}")]
    assert found == ["fsdp", "deepspeed_stage_2", "deepspeed_stage_3"]
    assert set(found) <= set(StrategyRegistry.available_strategies())


def test_strategies_are_the_engines_own() -> None:
    for name in ("auto", "ddp", "model_parallel", "fsdp", "deepspeed"):
        cls = member("strategy", name)
        assert issubclass(cls, Strategy) and cls.__module__ == strategy.__name__
