"""What compares the samples of a batch compares them all, however many processes share it.

B batch, T tokens, C channels, X height and width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import spawn

import blueprint as bp
from blueprint.component import Site
from blueprint.kinds import Objective
from blueprint.ops import shared_by
from blueprint.training.strategies.collective import rows, summed

PROCESSES, EACH, TOKENS = 2, 4, 6
#: Objectives judge in float32.
FLOAT32 = {"atol": 1e-5, "rtol": 1e-6}
TEXT = {"d_model": 16, "layers": 1, "max_length": TOKENS, "vocab_size": 20, "block": {"attention": {"heads": 2}}}
IMAGE = {"d_model": 16, "layers": 1, "embedding": {"image_size": 4, "patch_size": 2, "channels": 1}, "pool": "mean"}
TOWERS = {"type": "dual_encoder", "text": {**TEXT, "pool": "mean"}, "contrast": {"width": 8, "bias": -1.0}}
TOWERS["image"] = {**IMAGE, "block": {"attention": {"heads": 2, "position": "none"}}}

SAID: dict[str, dict[str, Any]] = {
    "softmax": {"model": TOWERS, "objective": "image_text"},
    "sigmoid": {"model": TOWERS, "objective": {"type": "image_text", "loss": "sigmoid"}},
    # Dropout would draw other masks: the two views are then one, which is as good for counting.
    "contrastive": {
        "model": {"type": "encoder", **TEXT, "head": "pooler"},
        "objective": {"type": "contrastive", "temperature": 0.5},
    },
}


def batch_of(rank: int | None) -> dict[str, Tensor]:
    """The whole batch, or a process's share of it; some rows only fill it up, and two texts are the same."""
    drawn = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(20, (PROCESSES * EACH, TOKENS), generator=drawn)
    ids_BT[6] = ids_BT[1]
    pixels_BCXX = torch.randn(PROCESSES * EACH, 1, 4, 4, generator=drawn, dtype=torch.float64)
    labels_B = torch.tensor([0, 0, -100, 0, 0, 0, 0, 0])
    each = slice(None) if rank is None else slice(rank * EACH, rank * EACH + EACH)
    return {"input_ids": ids_BT[each], "pixel_values": pixels_BCXX[each], "labels": labels_B[each]}


def learned(said: dict[str, Any], rank: int | None, train: bool) -> dict[str, Any]:
    """The summed loss of a share of the batch, its gradients, and what its scores are told."""
    model: nn.Module = bp.build(bp.load({"model": said["model"]})).double().train(train)
    objective: Any = Objective.of(said["objective"]).build(Site(d_model=16, width=16))
    batch = batch_of(rank)
    if said["model"]["type"] == "encoder":
        del batch["pixel_values"]
        batch["labels"] = batch["labels"][:, None]
    loss, metrics = objective(model, batch)
    total = loss * metrics["tokens"]
    total.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    told = {name: value[0] for name, value in metrics.get("told", {}).items()}
    return {"total": total.detach(), "tokens": metrics["tokens"], "gradients": gradients, "told": told}


def process(rank: int, folder: str) -> None:
    """One process: everything of its share."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    with shared_by(summed, rows):
        found = {(name, train): learned(said, rank, train) for name, said in SAID.items() for train in (True, False)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder = tmp_path_factory.mktemp("shares")
    spawn(process, (str(folder),), PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", SAID)
def test_processes_together_lose_what_one_does(name: str, train: bool, shares: list[dict[Any, Any]]) -> None:
    whole, found = learned(SAID[name], None, train), [share[name, train] for share in shares]
    torch.testing.assert_close(sum(each["total"] for each in found), whole["total"], **FLOAT32)
    assert sum(int(each["tokens"]) for each in found) == int(whole["tokens"]) == 7
    for parameter, gradient in whole["gradients"].items():
        together = sum(each["gradients"][parameter] for each in found)
        torch.testing.assert_close(together, gradient, **FLOAT32)
    for score, told in whole["told"].items():
        assert torch.equal(torch.cat([each["told"][score] for each in found]), told)


def test_it_is_not_what_each_would_lose_alone() -> None:
    """Or the test above would show nothing."""
    alone = sum(learned(SAID["softmax"], rank, True)["total"] for rank in range(PROCESSES))
    assert abs(alone - learned(SAID["softmax"], None, True)["total"]) > 0.5
