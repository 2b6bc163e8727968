"""What is said of a mesh, against two processes that run it."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import blueprint as bp
from blueprint.cost import MeshCost
from blueprint.cost.mesh import Mesh
from blueprint.cost.pieces import divide, regions_of
from blueprint.model.layers import blocks_of
from blueprint.model.weights import freeze, weights_of
from blueprint.plan import plan
from blueprint.schema.spec import Spec

from .conftest import spec

LENGTH, PROCESSES = 16, 2

#: Even sizes; sizes that two do not divide, and a tied head; layers that share weights; the first parts frozen.
SHARDED: dict[str, Spec] = {
    "even": spec(layers=2),
    "uneven": spec(
        layers=2,
        vocab_size=101,
        head={"tie": True},
        block={"attention": {"heads": 4, "bias": True}, "feed_forward": {"type": "gated", "d_ff": 83}},
    ),
    "shared": spec(layers=3, share=[0, 0, 2]),
    "frozen": spec(layers=3).model_copy(update={"freeze": ("embedding", "layers.0")}),
}
#: Norms of heads, which every piece has whole; and an encoder whose output every layer of a decoder reads.
CUT: dict[str, Spec] = {
    "decoder": spec(layers=2, attention={"qk_norm": {}}),
    "both sides": spec(type="encoder_decoder", layers=2),
}
COLLECTIVES = {
    "c10d._allgather_base_.default": "all-gather",
    "c10d._reduce_scatter_base_.default": "reduce-scatter",
    "c10d.allreduce_.default": "all-reduce",
}

Sent = dict[str, list[int]]


class Counted(TorchDispatchMode):
    """Writes down what collectives are called with: bytes of the whole and calls, by kind."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whole: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            kind = COLLECTIVES[str(func)]
            self.whole[kind] += max(each.nbytes for each in tree_leaves(args) if isinstance(each, Tensor))
            self.calls[kind] += 1
        return func(*args, **(kwargs or {}))

    def sent(self) -> Sent:
        """By kind what each device sends in a ring, and in how many calls."""
        part = {kind: whole * (PROCESSES - 1) // PROCESSES for kind, whole in self.whole.items()}
        return {kind: [part[kind] * (2 if kind == "all-reduce" else 1), self.calls[kind]] for kind in part}


def local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def held(model: nn.Module, made: Spec) -> dict[str, int]:
    """Bytes that a process holds after a step."""
    optimizer = made.optimizer.build(plan(made).site)(weights_of(model))
    optimizer.step()
    kept = tree_leaves([optimizer.state[each] for each in model.parameters()])
    return {
        "weights": sum(local(each).nbytes for each in (*model.parameters(), *model.buffers())),
        "gradients": sum(local(each.grad).nbytes for each in model.parameters() if each.grad is not None),
        "optimizer": sum(local(each).nbytes for each in kept if isinstance(each, Tensor)),
    }


def loss_of(model: Any, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    inputs = {
        name: torch.randint(100, (batch, LENGTH), generator=generator)
        for name in getattr(model, "module", model).plan.model.inputs()
    }
    loss: Tensor = model(**inputs).logits.square().mean()
    return loss


def sharded(made: Spec) -> dict[str, Any]:
    """A step under FSDP2, each block by itself."""
    model = bp.build(made)
    freeze(model, made)
    mesh = init_device_mesh("cpu", (PROCESSES,))
    for _, block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with Counted() as counted:
        loss_of(model, 1).backward()
    return {"sent": counted.sent(), **held(model, made)}


def alike(made: Spec) -> dict[str, Any]:
    """A step under DDP."""
    model = bp.build(made)
    counted = Counted()

    def reduce(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        buffer = bucket.buffer()
        counted.whole["all-reduce"] += buffer.nbytes
        done: torch.futures.Future[Tensor] = (
            dist.all_reduce(buffer, async_op=True).get_future().then(lambda found: found.value()[0])
        )
        return done

    reduce.__annotations__.clear()  # torch reads them, and not as text
    parallel = DistributedDataParallel(model)
    parallel.register_comm_hook(None, reduce)
    loss_of(parallel, 1).backward()
    return {"sent": counted.sent(), **held(model, made)}


class Summed(torch.autograd.Function):
    """The sum of what all processes have; its gradient is everyone's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class Handed(torch.autograd.Function):
    """What all processes have alike; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


def cut(made: Spec) -> dict[str, Any]:
    """A step of a model whose parts are cut in two by hand, with its gradients against those of the whole one."""
    rank, model, whole = dist.get_rank(), bp.build(made), bp.build(made)
    for region in regions_of(model, PROCESSES):
        for name in region.shards.axes:
            old = region.module.get_parameter(name)
            piece = region.shards.piece(name, old.detach(), rank, PROCESSES)
            owner, _, own = name.rpartition(".")
            setattr(region.module.get_submodule(owner), own, nn.Parameter(piece.clone()))
        for parameter in region.whole:
            parameter.register_post_accumulate_grad_hook(lambda each: dist.all_reduce(each.grad))

        def before(_: nn.Module, args: Any) -> Any:
            x_BTD, flow, *more = args
            if flow.memory is not None and type(_).__name__ == "CrossAttention":
                flow = replace(flow, memory=replace(flow.memory, x_BSD=Handed.apply(flow.memory.x_BSD)))
            return Handed.apply(x_BTD), flow, *more

        region.module.register_forward_pre_hook(before)
        region.module.register_forward_hook(lambda _, __, out: (Summed.apply(out[0]), out[1]))
    torch.manual_seed(0)
    inputs = {name: torch.randint(100, (1, LENGTH)) for name in model.plan.model.inputs()}
    with Counted() as counted:
        model(**inputs).logits.square().mean().backward()
    whole(**inputs).logits.square().mean().backward()
    off = 0.0
    axes = {
        f"{name}.{inner}": region.shards.axes[inner]
        for name, module in whole.named_modules()
        for region in regions_of(whole, PROCESSES)
        if region.module is module
        for inner in region.shards.axes
    }
    found = dict(model.named_parameters())
    for name, parameter in whole.named_parameters():
        grad, own = parameter.grad, found[name].grad
        assert grad is not None
        assert own is not None
        piece = grad.chunk(PROCESSES, axes[name])[rank] if name in axes else grad
        off = max(off, ((piece - own).abs().max() / grad.abs().max()).item())
    return {"off": off, "sent": counted.sent(), **held(model, made)}


def run(rank: int, port: int, folder: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    found = {f"sharded {name}": sharded(made) for name, made in SHARDED.items()}
    found["ddp"] = alike(SHARDED["uneven"])
    found |= {f"cut {name}": cut(made) for name, made in CUT.items()}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process counted."""
    folder = tmp_path_factory.mktemp("real")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(run, (port, folder), nprocs=PROCESSES)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]


def said(found: MeshCost) -> Sent:
    assert found.sent is not None
    return {each.kind: [each.bytes, each.calls or 0] for each in found.sent}


@pytest.mark.parametrize("name", SHARDED)
def test_full_sharding_holds_and_sends_what_was_said(real: list[dict[str, Any]], name: str) -> None:
    first = real[0][f"sharded {name}"]
    found = bp.cost(SHARDED[name], LENGTH, PROCESSES, mesh={"dp": PROCESSES})
    assert first["sent"] == said(found)
    assert {key: first[key] for key in ("weights", "gradients", "optimizer")} == {
        "weights": found.memory.weights,
        "gradients": found.memory.gradients,
        "optimizer": found.memory.optimizer,
    }
    # Nobody holds more than the first.
    assert real[1][f"sharded {name}"]["weights"] <= first["weights"]


def test_ddp_holds_everything_and_sends_every_gradient_twice_but_once(real: list[dict[str, Any]]) -> None:
    found = bp.cost(SHARDED["uneven"], LENGTH, PROCESSES, mesh={"dp": PROCESSES}, strategy="ddp")
    first = real[0]["ddp"]
    assert first["sent"] == said(found)
    assert (first["weights"], first["optimizer"]) == (found.memory.weights, found.memory.optimizer)
    assert first["gradients"] == found.memory.gradients == found.memory.transit


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_holds_and_sends_what_was_said_and_learns_the_same(real: list[dict[str, Any]], name: str) -> None:
    found = bp.cost(CUT[name], LENGTH, 1, mesh={"tp": PROCESSES})
    for each in real:
        assert each[f"cut {name}"]["off"] < 1e-5
        assert each[f"cut {name}"]["sent"] == said(found)
        assert each[f"cut {name}"]["weights"] == found.memory.weights
        assert each[f"cut {name}"]["optimizer"] == found.memory.optimizer


def test_pieces_are_what_the_regions_hold() -> None:
    model = bp.build(CUT["decoder"])
    regions = regions_of(model, PROCESSES)
    before = sum(each.numel() for each in model.parameters())
    inside = sum(region.module.get_parameter(name).numel() for region in regions for name in region.shards.axes)
    divide(model, Mesh(tp=PROCESSES))
    assert sum(each.numel() for each in model.parameters()) == before - inside // 2
