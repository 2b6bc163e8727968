"""Parts of a model of which every process runs a piece, and what passes between the pieces (Shoeybi et al., 2019, §3).

n processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from blueprint.model.initialise import name_seed

#: The dimension of the mesh along which pieces lie, by Lightning's name.
TENSOR = "tensor_parallel"

#: The mesh of the pieces while one of them runs.
_INSIDE: ContextVar[DeviceMesh | None] = ContextVar("inside", default=None)


class _Enter(torch.autograd.Function):
    """What all pieces read: the same everywhere, its gradient the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mesh: DeviceMesh) -> Tensor:
        ctx.mesh = mesh
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _summed(gradients[0], ctx.mesh), None


class _Leave(torch.autograd.Function):
    """The sum of what all pieces give, its gradient the same everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mesh: DeviceMesh) -> Tensor:
        return _summed(x, mesh)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Part(torch.autograd.Function):
    """The n-th part of what is to be added once; n such parts have the gradient of one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
        return x / n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _summed(x: Tensor, mesh: DeviceMesh) -> Tensor:
    total = x.contiguous().clone()
    dist.all_reduce(total, group=mesh.get_group())
    return total


class Read(dict[str, Any]):
    """A module's parameters, of which a forward reads this process's piece; all else sees them as they are.

    `how` tells of each name whether it is cut (`piece`), added by every piece (`once`), or else the same for all;
    `mesh` is that of the pieces.
    """

    def __init__(self, held: Mapping[str, Any], how: Mapping[str, str], mesh: DeviceMesh) -> None:
        super().__init__(held.items())
        self.how, self.mesh = how, mesh

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if not isinstance(found, DTensor):
            return found
        # One that is fully sharded is of another mesh until it was gathered; a number always is there.
        if found.ndim and found.device_mesh.mesh_dim_names != (TENSOR,):
            return found
        piece = found.to_local(grad_placements=found.placements)
        how = self.how.get(name)
        if how == "once":
            return _Part.apply(piece, self.mesh.size())  # type: ignore[no-untyped-call]
        if how is None and _INSIDE.get() is not None:
            return _Enter.apply(piece, self.mesh)  # type: ignore[no-untyped-call]
        return piece


def divide(module: nn.Module, mesh: DeviceMesh) -> None:
    """Let a module's forward, whose parameters are read in pieces, give what the whole module would."""
    whole: Callable[..., Any] = module.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _entering(args, mesh), _entering(kwargs, mesh)
        token = _INSIDE.set(mesh)
        try:
            with _apart(mesh) if module.training else nullcontext():
                first, *others = whole(*args, **kwargs)
        finally:
            _INSIDE.reset(token)
        return (_Leave.apply(first, mesh), *others)  # type: ignore[no-untyped-call]

    module.forward = run


def _entering(value: Any, mesh: DeviceMesh) -> Any:
    """A value with every tensor in it that wants a gradient told to sum those of the pieces."""
    if isinstance(value, Tensor):
        return _Enter.apply(value, mesh) if value.requires_grad else value  # type: ignore[no-untyped-call]
    if isinstance(value, tuple | list):
        return type(value)(_entering(each, mesh) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        told = {name: made for name, each in held.items() if (made := _told(each, mesh)) is not each}
        return replace(value, **told) if told else value
    # Of the maps, a memo must stay the one that all layers write to.
    return {name: _entering(each, mesh) for name, each in value.items()} if type(value) is dict else value


def _told(value: Any, mesh: DeviceMesh) -> Any:
    return value if isinstance(value, Mapping) else _entering(value, mesh)


@contextmanager
def _apart(mesh: DeviceMesh) -> Iterator[None]:
    """Draw other lots in every piece, of what is the same for all; afterwards all draw the same again."""
    lot = int(torch.randint(1 << 62, ()))
    devices = [torch.cuda.current_device()] if mesh.device_type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(name_seed(lot, f"piece {mesh.get_local_rank()}"))
        yield
