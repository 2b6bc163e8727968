"""What several processes learn together is what one learns, however the model is laid over them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.load import load
from blueprint.training import checkpoint as checkpoints
from blueprint.training.run import fit, resume
from blueprint.training.verify import _equal, _leaves
from tests.training.strategies.together import Task, together, until
from tests.training.watching import rows

RUN = """
tokenizer: byte
schedule: {type: cosine, warmup_steps: 2}
trainer: {max_steps: STEPS, limit_val_batches: 2, log_every_n_steps: 1, accelerator: cpu, gradient_clip_val: 0.5}
checkpoint: {every_n_steps: 10, keep: 100}
sample: {every_n_steps: 2, prompt: abc, tokens: 6}
"""
ADAMW, MUON = (f"optimizer: {{type: {name}, lr: 3e-3}}\n" for name in ("adamw", "muon"))
TEXT = "data: {source: {type: text, path: TEXTS}, length: 16, batch_size: 8, validation: 0.2}\n"
#: Tied and untied heads, biases, grouped heads, cross-attention, experts that are balanced; and beside them what
#: happens to weights: averages, computing again, accumulation, matrices that are needed whole.
MODELS = {
    "decoder": TEXT
    + ADAMW
    + "ema: {decay: 0.9}\n"
    + "model: {type: decoder, d_model: 32, layers: 2, max_length: 32, norm: layer,"
    + " block: {attention: {heads: 4, kv_heads: 2, bias: true}, feed_forward: {type: mlp, bias: true}}}",
    "encoder_decoder": "data: {source: {type: reversal, count: 80, length: 10}, length: 12, batch_size: 8}\n"
    + ADAMW
    + "objective: seq2seq\nrecompute: {}\n"
    + "model: {type: encoder_decoder, d_model: 32, layers: 2, max_length: 32, head: {tie: true},"
    + " block: {attention: {heads: 4}}}",
    "experts": TEXT
    + MUON
    + "model: {type: decoder, d_model: 32, layers: 2, max_length: 32, block: {attention: {heads: 4},"
    + " feed_forward: {type: experts, experts: 4, router: {type: top_k, k: 2, correction: score},"
    + " expert: {type: gated, d_ff: 24}, balance: [{type: expert, weight: 0.1}, {type: z, weight: 0.1}, bias]}}}",
}
SHARDED = "trainer.strategy=model_parallel"
PIECES = "trainer.strategy={type: model_parallel, tensor_parallel_size: 2}"
STRATEGIES = {"ddp": "trainer.strategy=ddp", "sharded": SHARDED, "pieces": PIECES}
DROPOUT = [f"model.block.{part}dropout=0.1" for part in ("", "attention.", "feed_forward.")]
ALONE = ("trainer.devices=1", "trainer.strategy=auto")


def written(folder: Path, name: str, text: Path, steps: int) -> Path:
    """The spec of a model, in a file."""
    path = folder / f"{name}.yaml"
    path.write_text((MODELS[name] + RUN).replace("TEXTS", str(text)).replace("STEPS", str(steps)))
    return path


def assert_same(one: Path, other: Path, within: float = 1e-5) -> None:
    """The losses of two runs agree, and so do their gradients' norms before clipping."""
    a, b = rows(one), rows(other)
    assert [row["step"] for row in a] == [row["step"] for row in b]
    for this, that in zip(a, b, strict=True):
        for name in ("loss", "gradient_norm"):
            assert this[name] == pytest.approx(that[name], abs=within), f"{name} at step {this['step']}"
    assert a[-1]["validation_loss"] == pytest.approx(b[-1]["validation_loss"], abs=within)
    assert max(row["gradient_norm"] for row in a) > 0.5, "nothing was clipped"
    assert (one / "samples.txt").read_text() == (other / "samples.txt").read_text()


def learned(path: Path) -> dict[str, Any]:
    """Every tensor and number of a checkpoint that says what was learned."""
    found = checkpoints.read(path)
    names = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", checkpoints.AVERAGED)
    parts = {name: found[name] for name in names}
    # How a step is computed is no part of it.
    return {name: value for name, value in _leaves(parts) if not name.endswith((".fused", ".foreach"))}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if not _equal(a[name], b[name])]


def at(run: Path, step: int) -> Path:
    return run / "checkpoints" / checkpoints.name(step)


@pytest.mark.parametrize("steps", [4])
def test_a_decoder_learns_the_same_under_every_strategy(steps: int, text: Path, tmp_path: Path) -> None:
    spec = written(tmp_path, "decoder", text, steps)
    fit(load(spec), tmp_path / "one", progress=False)
    tasks: list[Task] = [
        ("train", [str(spec), str(tmp_path / name), "trainer.devices=2", said]) for name, said in STRATEGIES.items()
    ]
    together(2, tasks, tmp_path)
    for name in STRATEGIES:
        assert_same(tmp_path / "one", tmp_path / name)


@pytest.fixture(scope="module")
def runs(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model alone and under every strategy, and the decoder taken up again under others."""
    folder = tmp_path_factory.mktemp("runs")
    tasks: list[Task] = []
    for name in MODELS:
        spec = written(folder, name, text, 20)
        fit(load(spec), folder / f"{name}-one", progress=False)
        for strategy, said in STRATEGIES.items():
            tasks.append(("train", [str(spec), str(folder / f"{name}-{strategy}"), "trainer.devices=2", said]))
    for before in ("one", *STRATEGIES):
        for strategy, said in STRATEGIES.items():
            copy = str(folder / f"{before}-{strategy}")
            tasks.append(("again", [str(folder / f"decoder-{before}"), copy, "10", "trainer.devices=2", said]))
    for strategy, said in STRATEGIES.items():
        run = folder / f"dropout-{strategy}"
        tasks.append(("train", [str(folder / "decoder.yaml"), str(run), "trainer.devices=2", said, *DROPOUT]))
        tasks.append(("again", [str(run), f"{run}-again", "10"]))
    together(2, tasks, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_learn_what_one_does(model: str, strategy: str, runs: Path) -> None:
    assert_same(runs / f"{model}-one", runs / f"{model}-{strategy}")


@pytest.mark.slow
def test_four_processes_on_two_dimensions_learn_what_one_does(runs: Path, tmp_path: Path) -> None:
    more = ["trainer.devices=4", PIECES]
    tasks: list[Task] = [("train", [str(runs / f"{name}.yaml"), str(tmp_path / name), *more]) for name in MODELS]
    copy = tmp_path / "again"
    tasks.append(("again", [str(runs / "decoder-pieces"), str(copy), "10", *more]))
    together(4, tasks, tmp_path)
    for name in MODELS:
        assert_same(runs / f"{name}-one", tmp_path / name)
    assert_same(runs / "decoder-one", copy)
    assert differing(learned(at(runs / "decoder-pieces", 10)), learned(copy / "read.ckpt")) == []


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("before", ["one", *STRATEGIES])
def test_a_run_goes_on_under_another_strategy_with_all_it_had_learned(before: str, strategy: str, runs: Path) -> None:
    copy = runs / f"{before}-{strategy}"
    assert differing(learned(at(runs / f"decoder-{before}", 10)), learned(copy / "read.ckpt")) == []
    assert_same(runs / "decoder-one", copy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_goes_on_bit_for_bit_under_the_same_strategy(strategy: str, runs: Path) -> None:
    dropout = runs / f"dropout-{strategy}"
    pairs = (
        (runs / f"decoder-{strategy}", runs / f"{strategy}-{strategy}"),
        (dropout, runs / f"{dropout.name}-again"),
    )
    for whole, copy in pairs:
        assert differing(learned(at(whole, 20)), learned(at(copy, 20))) == []
        assert rows(copy) == rows(whole)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_goes_on_with_what_two_began(strategy: str, runs: Path, tmp_path: Path) -> None:
    until(runs / f"decoder-{strategy}", tmp_path / "copy", 10)
    assert resume(tmp_path / "copy", ALONE, progress=False).status == "finished"
    assert_same(runs / "decoder-one", tmp_path / "copy")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_two_processes_saved_is_read_like_any_run(strategy: str, runs: Path, tmp_path: Path) -> None:
    from blueprint.interop.export import export_folder
    from blueprint.training.evaluate import evaluate

    run = runs / f"decoder-{strategy}"
    one, two = bp.restore(runs / "decoder-one"), bp.restore(run)
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert type(b.data) is torch.Tensor
        # The gradient of the keys' bias is zero but for rounding, of which Adam makes whole steps.
        assert name.endswith("k.bias") or torch.allclose(a, b, atol=1e-4), name
    assert evaluate(run)["nats"] == pytest.approx(evaluate(runs / "decoder-one")["nats"], abs=1e-5)
    assert export_folder(run, tmp_path / "exported").parameters == sum(each.numel() for each in two.parameters())
    assert bp.generate(two, torch.zeros(1, 4, dtype=torch.long), max_new_tokens=4).shape == (1, 8)


#: One process of the run is gone at once, as if its machine had failed.
KILLED = """
import os, signal, sys
from pathlib import Path
import lightning.pytorch as pl
from blueprint.load import load
from blueprint.training.error import TrainError
from blueprint.training.run import fit

class Kill(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 12 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

try:
    fit(load(sys.argv[1], overrides=sys.argv[3:]), Path(sys.argv[2]), progress=False, callbacks=[Kill()])
except TrainError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_losing_a_process_ends_the_run_with_a_checkpoint_to_go_on_from(
    strategy: str, text: Path, tmp_path: Path
) -> None:
    spec, run = written(tmp_path, "decoder", text, 20), tmp_path / "run"
    (tmp_path / "main.py").write_text(KILLED)
    command = [
        sys.executable,
        str(tmp_path / "main.py"),
        str(spec),
        str(run),
        "trainer.devices=2",
        STRATEGIES[strategy],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert f"process 1 of the run ended by {signal.SIGKILL.name}" in done.stderr
    assert "step=000010.ckpt" in done.stderr and f"blueprint resume {run}" in done.stderr
    assert "Traceback" not in done.stderr
    finished = resume(run, ALONE, progress=False)
    assert (finished.status, finished.step) == ("finished", 20)
