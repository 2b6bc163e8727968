"""Experts shared out among processes train as in one: the same losses, and checkpoints that any number goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing import spawn

from blueprint.model.dividing import stacked
from blueprint.ops import shared_by
from blueprint.training import metrics
from blueprint.training.error import TrainError
from blueprint.training.strategies.collective import rows, summed
from blueprint.training.strategies.layout import lay_out
from tests.training.strategies.test_exchange import SAID, ids, loss_of, model_of
from tests.training.strategies.together import together

STEPS = 20
SPEC = """
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 32
  block:
    attention: {heads: 2}
    feed_forward:
      type: experts
      experts: 4
      router: {type: top_k, k: 2}
      expert: {type: gated, d_ff: 48}
      shared: {type: mlp, d_ff: 16}
      balance: [{type: expert, weight: 0.1}, z]
tokenizer: byte
data: {source: {type: text, path: PATH}, length: 32, batch_size: 8}
optimizer: {type: adamw, lr: 0.003}
trainer: {max_steps: 20, gradient_clip_val: 0.5, log_every_n_steps: 1, accelerator: cpu}
checkpoint: {every_n_steps: 10}
sample: null
"""


def losses(run: Path) -> list[float]:
    """The loss of every step."""
    return [row["loss"] for row in metrics.read(run / "metrics.csv") if "loss" in row]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with text of its own."""
    folder = tmp_path_factory.mktemp("experts")
    words = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "away", "fast")
    for number in range(12):
        text = " ".join(words[(number * i + i * i) % len(words)] for i in range(400))
        (folder / f"{number}.txt").write_text(text)
    path = folder / "spec.yaml"
    path.write_text(SPEC.replace("PATH", f"{folder}/*.txt"))
    return path


def test_experts_elsewhere_learn_as_at_home(spec: Path, tmp_path: Path) -> None:
    """20 steps in one process, in two that share out the experts, and half of each."""
    import blueprint as bp

    bp.fit(bp.load(spec), tmp_path / "one", progress=False)
    said = ["trainer.devices=2", "trainer.strategy={type: model_parallel, expert_parallel_size: 2}"]
    half = [str(spec), str(tmp_path / "half"), *said, "trainer.max_steps=10"]
    together(2, [("train", [str(spec), str(tmp_path / "two"), *said]), ("train", half)], tmp_path)
    wanted = losses(tmp_path / "one")
    assert len(wanted) == STEPS
    assert losses(tmp_path / "two") == pytest.approx(wanted, abs=1e-5)
    bp.resume(tmp_path / "half", ["trainer.max_steps=20", "trainer.devices=1", "trainer.strategy=auto"], progress=False)
    assert losses(tmp_path / "half") == pytest.approx(wanted, abs=1e-5)


def held(rank: int, meeting: str) -> None:
    """One process of four: two hold the same experts, and share them block by block."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=4)
    model = model_of(SAID["grouped"])
    whole = sum(parameter.numel() for parameter in model.parameters())
    experts = sum(parameter.numel() for module in stacked(model) for parameter in module.parameters())
    mesh = init_device_mesh("cpu", (4, 1), mesh_dim_names=("data_parallel", "tensor_parallel"))
    with pytest.raises(TrainError, match=r"`expert_parallel_size: 3` does not divide the 4 devices"):
        lay_out(model_of(SAID["grouped"]), mesh, experts=3)
    with pytest.raises(TrainError, match=r"does not divide the 2 experts of layers\.0\.feed_forward\.experts"):
        lay_out(model_of(SAID["one_each"]), mesh, experts=4)
    lay_out(model, mesh, experts=2)
    here = sum(parameter.to_local().numel() for module in stacked(model) for parameter in module.parameters())
    assert here == experts // 4
    # What does not divide evenly leaves some with a row more.
    assert sum(parameter.to_local().numel() for parameter in model.parameters()) < whole / 3
    passed: list[int] = []
    for module in stacked(model):
        travel = module.elsewhere
        module.elsewhere = lambda *given, travel=travel: passed.append(len(given[1])) or travel(*given)
    with shared_by(summed, rows):
        loss_of(model, ids()[rank : rank + 1]).backward()
    assert len(passed) == 2
    dist.destroy_process_group()


@pytest.mark.slow
def test_each_process_holds_its_share(tmp_path: Path) -> None:
    """Four processes: experts halved, and each half sharded over the two that hold it."""
    spawn(held, (str(tmp_path / "meeting"),), 4)
