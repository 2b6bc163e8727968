"""Experts shared out among the devices that share batches: who holds which, and what is read of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from blueprint.model.dividing import stacked
from blueprint.ops import Flow, Groups
from blueprint.training.error import TrainError
from blueprint.training.strategies.exchange import Exchange

#: The dimensions of the mesh that hold other experts, and the same ones.
EXPERTS, COPIES = "expert_parallel", "expert_data"


def share_out(model: nn.Module, mesh: DeviceMesh) -> None:
    """Leave this process its share of the experts of every part: equal runs of them, in the order of the mesh, their
    parameters DTensors over it.

    Raises `TrainError` where they do not divide evenly, or where there are none.
    """
    n, found = mesh.size(), stacked(model)
    for module, name in found.items():
        if int(module.stacked) % n:  # type: ignore[arg-type]
            raise TrainError(
                f"`expert_parallel_size: {n}` does not divide the {module.stacked} experts of {name}\n"
                f"  = fix: choose a size that divides them, or {n} times as many experts"
            )
    if not found:
        raise TrainError("`expert_parallel_size` does nothing: the model has no experts\n  = fix: leave it out")
    made: dict[int, nn.Parameter] = {}
    kept: list[nn.Parameter] = []  # an id may be another's once its owner is gone
    for module in found:
        for inner in module.modules():
            for name, parameter in list(inner.named_parameters(recurse=False)):
                if id(parameter) not in made:
                    made[id(parameter)] = _share(parameter, mesh)
                    kept.append(parameter)
                inner._parameters[name] = made[id(parameter)]
        module.elsewhere = Here(mesh)  # type: ignore[assignment]


def _share(parameter: nn.Parameter, mesh: DeviceMesh) -> nn.Parameter:
    # A copy: a view would keep the whole alive.
    piece = parameter.detach().chunk(mesh.size())[mesh.get_local_rank()].clone()
    return nn.Parameter(DTensor.from_local(piece, mesh, [Shard(0)], run_check=False), parameter.requires_grad)


class Here(Exchange):
    """An exchange that reads of parameters what this process has of them."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__(mesh.get_group())

    def __call__(self, many: nn.Module, x_RD: Tensor, flow: Flow, groups: Groups) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Exchange`."""
        with _read(many, self.processes):
            found: tuple[Tensor, dict[str, Tensor]] = super().__call__(many, x_RD, flow, groups)
            return found


@contextmanager
def _read(many: nn.Module, n: int) -> Iterator[None]:
    """Plain tensors in the places of a module's parameters; what they learn is a mean over processes, as of others."""
    held = {module: module._parameters for module in many.modules() if module._parameters}
    try:
        for module, parameters in held.items():
            module._parameters = {
                name: None if each is None else _Mean.apply(_local(each), n)  # type: ignore[no-untyped-call]
                for name, each in parameters.items()
            }
        yield
    finally:
        for module, parameters in held.items():
            module._parameters = parameters


def _local(x: Tensor) -> Tensor:
    return x.to_local(grad_placements=x.placements) if isinstance(x, DTensor) else x


class _Mean(torch.autograd.Function):
    """What n processes' losses have a share in, where the mean of their losses is what is minimised."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
        ctx.n = n
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] / ctx.n, None
