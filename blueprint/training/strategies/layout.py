"""A model laid out over a mesh of devices: what each holds of it, from the module tree and the axes parts declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard

from blueprint.model.dividing import SUBLAYERS, regions, stacked, units
from blueprint.model.layers import kind_of
from blueprint.ops import shards_of
from blueprint.training.error import TrainError
from blueprint.training.strategies.experts import COPIES, EXPERTS, share_out
from blueprint.training.strategies.region import TENSOR, Read, divide

#: The dimension of the mesh that shares batches, by Lightning's name.
DATA = "data_parallel"


def lay_out(model: nn.Module, mesh: DeviceMesh, experts: int = 1) -> None:
    """Cut what declares how over the mesh's second dimension, then everything over the first, block by block; with
    `experts`, so many of those that share batches hold other experts each.

    The model's own code does not know; its parameters are DTensors afterwards, all of them. Raises `TrainError` where
    experts cannot be shared out so.
    """
    away: Mapping[torch.dtype, DeviceMesh] = {}
    if experts > 1:
        apart = _of_experts(mesh, experts)
        share_out(model, apart[EXPERTS])
        away = _by_dtype(apart, (parameter for module in stacked(model) for parameter in module.parameters()))
    # What is gathered together has one dtype; each has groups of processes of its own.
    meshes = _by_dtype(mesh, model.parameters())
    numbers = spread_numbers(model, mesh)
    if mesh[TENSOR].size() > 1:
        cut(model, {dtype: each[TENSOR] for dtype, each in meshes.items()})
    data, copies = ({dtype: each[name] for dtype, each in of.items()} for of, name in ((meshes, DATA), (away, COPIES)))
    shard(model, data, numbers, copies)


def left_whole(model: nn.Module, n: int) -> list[str]:
    """The sublayers that do not run as n pieces, and into how many they would be cut, in words for each kind.

    Raises TrainError where that is all there are.
    """
    if n == 1:
        return []
    found, seen = regions(model, n), set[int]()
    left: dict[str, set[int]] = {}
    for module in model.modules():
        kind = kind_of(module)
        if kind in SUBLAYERS and id(module) not in seen:
            seen |= {id(inner) for inner in module.modules()}
            if module not in found:
                shards = shards_of(module)
                left.setdefault(kind.replace("_", "-"), set()).add(1 if shards is None else shards.pieces)
    said = [f"{kind} ({_into(pieces)})" for kind, pieces in left.items()]
    if not found:
        raise TrainError(
            f"`trainer.strategy.tensor_parallel_size: {n}` divides no part of this model: {', '.join(said)}\n"
            "  = fix: say one that divides these, or `1`, which shards the model all the same"
        )
    return said


def _into(pieces: set[int]) -> str:
    counts = sorted(pieces - {1})
    cannot = ["cannot be cut"] if 1 in pieces else []
    return " or ".join([*(f"{count} pieces at most" for count in counts), *cannot])


def cut(model: nn.Module, meshes: Mapping[torch.dtype, DeviceMesh]) -> None:
    """Make every parameter a DTensor over the pieces' mesh of its dtype: those of `regions` cut, the others whole."""
    mesh = next(iter(meshes.values()))
    found = regions(model, mesh.size())
    axes: dict[int, int] = {}
    how: dict[int, dict[str, str]] = {}
    for region, shards in found.items():
        for name in (*shards.axes, *shards.once):
            path, _, own = name.rpartition(".")
            owner = region.get_submodule(path)
            how.setdefault(id(owner), {})[own] = "piece" if name in shards.axes else "once"
            if name in shards.axes:
                axes[id(owner._parameters[own])] = shards.axes[name]
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.ndim:
                if id(parameter) not in made:
                    # Experts that are shared out are so already.
                    spread = isinstance(parameter, DTensor)
                    made[id(parameter)] = (
                        parameter if spread else _cut(parameter, axes.get(id(parameter)), meshes[parameter.dtype])
                    )
                module._parameters[name] = made[id(parameter)]
        if module._parameters:
            module._parameters = Read(module._parameters, how.get(id(module), {}), mesh)
    for region in found:
        divide(region, mesh)


def _cut(parameter: nn.Parameter, axis: int | None, mesh: DeviceMesh) -> nn.Parameter:
    piece: Tensor = parameter.detach()
    if axis is not None:
        # A copy: a view would keep the whole alive.
        piece = piece.chunk(mesh.size(), axis)[mesh.get_local_rank()].clone(memory_format=torch.contiguous_format)
    placement = Replicate() if axis is None else Shard(axis)
    spread = DTensor.from_local(piece, mesh, [placement], run_check=False)
    return nn.Parameter(spread, requires_grad=parameter.requires_grad)


def spread_numbers(model: nn.Module, mesh: DeviceMesh) -> set[nn.Parameter]:
    """Let every device have the parameters that are single numbers, whose gradients are averaged as they come."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        found = {name: each for name, each in module._parameters.items() if each is not None and not each.ndim}
        for name, parameter in found.items():
            if id(parameter) not in made:
                spread = DTensor.from_local(parameter.detach(), mesh, [Replicate()] * mesh.ndim, run_check=False)
                made[id(parameter)] = nn.Parameter(spread, requires_grad=parameter.requires_grad)
                if parameter.requires_grad:
                    made[id(parameter)].register_post_accumulate_grad_hook(_averaged)
            module._parameters[name] = made[id(parameter)]
        if found:
            module._parameters = Read(module._parameters, {}, mesh[TENSOR])
    return set(made.values())


def _averaged(parameter: Tensor) -> None:
    """Average a gradient over the devices that share a batch; what was there before is the same on all."""
    gradient, mesh = parameter.grad, parameter.device_mesh[DATA]  # type: ignore[attr-defined]
    assert isinstance(gradient, DTensor)
    local = gradient.to_local()
    dist.all_reduce(local, group=mesh.get_group())
    local.div_(mesh.size())


def shard(
    model: nn.Module,
    meshes: Mapping[torch.dtype, DeviceMesh],
    but: set[nn.Parameter],
    away: Mapping[torch.dtype, DeviceMesh] = MappingProxyType({}),
) -> None:
    """Shard every parameter `but` those over the data's mesh of its dtype (Zhao et al., 2023, *PyTorch FSDP*), gathered
    block by block; experts that are shared out over those that hold the same, the mesh `away`."""
    mesh = next(iter(meshes.values()))
    options: dict[str, Any] = {} if len(meshes) == 1 and not away else _each(model, meshes, away)
    for unit in units(model):
        fully_shard(unit, mesh=mesh, ignored_params=but, **options)
    fully_shard(model, mesh=mesh, ignored_params=but, **options)


@contextmanager
def read_outside(model: nn.Module) -> Iterator[None]:
    """What a model has outside its blocks, to be read by others than its forward."""
    try:
        if isinstance(model, FSDPModule):
            model.unshard()
        yield
    finally:
        resharded(model)


def resharded(model: nn.Module) -> None:
    """Let go of what a forward without a backward has gathered: it would be stale after the next step."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _again(mesh: DeviceMesh) -> DeviceMesh:
    """The same mesh with groups of processes of its own."""
    groups: list[dist.ProcessGroup] = []
    for number in range(mesh.ndim):
        for ranks in mesh.mesh.movedim(number, -1).reshape(-1, mesh.size(number)).tolist():
            # Every process takes part in making every group.
            group = dist.new_group(ranks)
            groups += [group] if dist.get_rank() in ranks else []
    return DeviceMesh.from_group(groups, mesh.device_type, mesh=mesh.mesh, mesh_dim_names=mesh.mesh_dim_names)


def _of_experts(mesh: DeviceMesh, experts: int) -> DeviceMesh:
    """The same devices, those that share batches in runs that hold all experts together."""
    data, *others = mesh.shape
    if data % experts:
        raise TrainError(
            f"`expert_parallel_size: {experts}` does not divide the {data} devices that share batches\n"
            "  = fix: choose a size that divides them"
        )
    names = (COPIES, EXPERTS, *(mesh.mesh_dim_names or ())[1:])
    found: DeviceMesh = init_device_mesh(mesh.device_type, (data // experts, experts, *others), mesh_dim_names=names)
    return found


def _by_dtype(mesh: DeviceMesh, parameters: Iterable[nn.Parameter]) -> dict[torch.dtype, DeviceMesh]:
    """The mesh for each dtype, with groups of its own."""
    dtypes = dict.fromkeys(parameter.dtype for parameter in parameters)
    return {dtype: mesh if number == 0 else _again(mesh) for number, dtype in enumerate(dtypes)}


def _each(
    model: nn.Module, meshes: Mapping[torch.dtype, DeviceMesh], away: Mapping[torch.dtype, DeviceMesh]
) -> dict[str, Any]:
    """What tells `fully_shard` over which mesh each parameter is sharded."""
    from torch.distributed.fsdp._fully_shard._fsdp_common import FSDPMeshInfo, ShardPlacementResult

    told = {dtype: ShardPlacementResult(Shard(0), FSDPMeshInfo(mesh, 0)) for dtype, mesh in meshes.items()}
    apart = {dtype: ShardPlacementResult(Shard(0), FSDPMeshInfo(mesh, 0)) for dtype, mesh in away.items()}
    experts = {id(parameter) for module in stacked(model) for parameter in module.parameters()} if away else set()
    return {"shard_placement_fn": lambda parameter: (apart if id(parameter) in experts else told)[parameter.dtype]}
