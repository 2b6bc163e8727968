"""Experts divided among processes give what they give in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import spawn

import blueprint as bp
from blueprint.ops import shared_by, with_losses
from blueprint.training.strategies.collective import rows, summed
from blueprint.training.strategies.exchange import Exchange

PROCESSES, TOKENS = 2, 24

#: What is said of the experts: grouped, run copy by copy (more than linear maps learns), one for each process.
SAID: dict[str, dict[str, Any]] = {
    "grouped": {
        "experts": 4,
        "router": {"type": "top_k", "k": 2},
        "expert": {"type": "gated", "d_ff": 24},
        "balance": [{"type": "expert", "weight": 0.1}, {"type": "z", "weight": 0.1}, "importance"],
    },
    "one_by_one": {
        "experts": 4,
        "router": {"type": "top_k", "k": 2},
        "expert": {"type": "mlp", "d_ff": 24, "inner_norm": "rms", "bias": True},
    },
    "one_each": {"experts": 2, "router": {"type": "top_k", "k": 1}, "expert": {"type": "mlp", "d_ff": 24}},
}


def model_of(said: dict[str, Any]) -> nn.Module:
    """The same model in every process, in double precision: differences are then mistakes."""
    spec = {
        "model": {
            "type": "decoder",
            "d_model": 16,
            "layers": 2,
            "max_length": TOKENS,
            "vocab_size": 50,
            "block": {"attention": {"heads": 2}, "feed_forward": {"type": "experts", **said}},
        }
    }
    return bp.build(bp.load(spec)).double()


def loss_of(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """A loss that every logit has a part in, and balance; processes' mean is the whole's, as rows are as many."""
    out = model(ids_BT)
    return with_losses(out.logits.square().mean(), out.terms)


def ids() -> Tensor:
    """Two rows for each process; one process's are all the same token, so that most of its experts get nothing."""
    ids_BT = torch.randint(50, (2 * PROCESSES, TOKENS), generator=torch.Generator().manual_seed(0))
    ids_BT[2:] = 7
    return ids_BT


def divided(rank: int, meeting: str, out: str, said: dict[str, Any]) -> None:
    """One process: its rows, and its share of the experts."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    model = model_of(said)
    experts = {name: each for name, each in model.named_modules() if hasattr(each, "stacked")}
    assert len(experts) == 2
    for each in experts.values():
        for module in each.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                piece = parameter.detach().chunk(PROCESSES)[rank].clone()
                setattr(module, name, nn.Parameter(piece))
        each.elsewhere = Exchange(dist.group.WORLD)  # type: ignore[assignment, arg-type]
    with shared_by(summed, rows):
        loss = loss_of(model, ids()[2 * rank : 2 * rank + 2])
        loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        assert grad is not None, name
        if any(name.startswith(f"{each}.") for each in experts):
            parts = [torch.empty_like(grad) for _ in range(PROCESSES)]
            dist.all_gather(parts, grad)
            gradients[name] = torch.cat(parts) / PROCESSES
        else:
            dist.all_reduce(grad)
            gradients[name] = grad / PROCESSES
    total = loss.detach().clone()
    dist.all_reduce(total)
    if rank == 0:
        torch.save({"loss": total / PROCESSES, "gradients": gradients}, out)
    dist.destroy_process_group()


@pytest.mark.parametrize("case", SAID)
def test_divided_experts_learn_what_they_learn_together(case: str, tmp_path: Path) -> None:
    """Loss and every gradient are those of one process with all rows and all experts."""
    said = SAID[case]
    spawn(divided, (str(tmp_path / "meeting"), str(tmp_path / "out.pt"), said), PROCESSES)
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    model = model_of(said)
    loss = loss_of(model, ids())
    loss.backward()
    torch.testing.assert_close(found["loss"], loss.detach(), rtol=1e-12, atol=0)
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert wanted.keys() == found["gradients"].keys()
    for name, grad in wanted.items():
        torch.testing.assert_close(found["gradients"][name], grad, rtol=1e-9, atol=1e-12, msg=name)
