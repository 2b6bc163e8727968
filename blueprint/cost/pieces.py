"""What one device of a mesh has of a model: pieces of its parts, some of its experts, its shard of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from blueprint.cost.mesh import Mesh, MeshError
from blueprint.model.dividing import declared, regions, stacked, units
from blueprint.model.layers import kind_of
from blueprint.ops import Groups, Shards


@dataclass(frozen=True, eq=False)
class Region:
    """A part that is cut over tp: its pieces' outputs are added up."""

    module: nn.Module
    shards: Shards

    @property
    def whole(self) -> list[nn.Parameter]:
        """Its parameters that every piece reads whole, so that their gradients are added up too."""
        apart = {*self.shards.axes, *self.shards.once}
        return [each for name, each in self.module.named_parameters() if name not in apart]


@dataclass(frozen=True, eq=False)
class Unit:
    """Parameters that are gathered together when `module` runs, each from `group` devices' shards."""

    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    group: int


def regions_of(model: nn.Module, tp: int) -> list[Region]:
    """The parts that can be cut into so many pieces, none of them within another; none where nothing is to be cut.

    A part stays whole if what would be cut of it is also used outside.
    """
    return [Region(module, shards) for module, shards in regions(model, tp).items()] if tp > 1 else []


def stacks_of(model: nn.Module) -> list[nn.Module]:
    """The modules that are many experts."""
    return list(stacked(model))


def check(model: nn.Module, mesh: Mesh) -> None:
    """Raises `MeshError` where a dimension of the mesh divides nothing of a model."""
    if mesh.tp > 1 and not regions_of(model, mesh.tp):
        pieces = {name_of(module): shards.pieces for module, shards in declared(model)}
        if not pieces:
            raise MeshError(f"tp={mesh.tp}: no part of this model can be cut", "leave tp out")
        sizes = sorted({n for most in pieces.values() for n in range(2, most + 1) if most % n == 0})
        told = ", ".join(f"{name} comes in {most}" for name, most in pieces.items())
        say = f"say a tp of {_some(sizes)}" if sizes else "leave tp out"
        raise MeshError(f"tp={mesh.tp} divides no part of this model ({told})", say)
    if mesh.ep == 1:
        return
    counts = sorted({int(module.stacked) for module in stacks_of(model)})  # type: ignore[arg-type]
    if not counts:
        raise MeshError(f"ep={mesh.ep}: this model has no experts", "leave ep out")
    for count in counts:
        if count % mesh.ep:
            sizes = [n for n in range(2, mesh.dp + 1) if mesh.dp % n == 0 and all(c % n == 0 for c in counts)]
            say = f"say an ep of {_some(sizes)}" if sizes else "leave ep out"
            raise MeshError(f"ep={mesh.ep} does not divide {count} experts", say)


def divide(model: nn.Module, mesh: Mesh) -> tuple[list[Region], list[nn.Module]]:
    """Put pieces in the places of what is cut over tp and ep; the regions and the stacked experts, cut."""
    cut, stacks = regions_of(model, mesh.tp), stacks_of(model) if mesh.ep > 1 else []
    pieces: dict[nn.Parameter, Tensor] = {}
    for region in cut:
        for name in region.shards.axes:
            whole = region.module.get_parameter(name)
            pieces[whole] = region.shards.piece(name, whole, 0, mesh.tp)
    for stack in stacks:
        pieces |= {whole: whole[: len(whole) // mesh.ep] for whole in stack.parameters()}
        stack.register_forward_pre_hook(_fewer(mesh.ep))
    _put(model, pieces)
    return cut, stacks


def units_of(model: nn.Module, mesh: Mesh) -> list[Unit]:
    """What is gathered together: first what belongs to no block, then a block's parameters, its experts' by themselves
    where these are divided. Of a block that shares a parameter with other parts, its attention and its feed-forward
    are gathered by themselves.
    """
    modules = stacks_of(model) if mesh.ep > 1 else []
    stacks = set(modules)
    modules += units(model)
    taken: set[int] = set()
    found = []
    for module in modules:
        own = tuple(each for each in module.parameters() if id(each) not in taken)
        taken |= {id(each) for each in own}
        found.append(Unit(module, own, mesh.dp // mesh.ep if module in stacks else mesh.dp))
    root = Unit(model, tuple(each for each in model.parameters() if id(each) not in taken), mesh.dp)
    return [root, *(unit for unit in found if unit.parameters)]


def shard(parameter: Tensor, group: int) -> Tensor:
    """A tensor of the size that each of a group holds: so many rows that the first one's are no more (FSDP2 fills
    up the others')."""
    if parameter.dim() == 0:
        return parameter.detach()
    return parameter.detach()[: -(-len(parameter) // group)]


def hold_shards(model: nn.Module, mesh: Mesh) -> None:
    """Leave of every parameter what a device holds between steps."""
    if not mesh.sharded:
        return
    _put(model, {each: shard(each, unit.group) for unit in units_of(model, mesh) for each in unit.parameters})


def name_of(module: nn.Module) -> str:
    """What people call a part."""
    return kind_of(module) or type(module).__name__


def _put(model: nn.Module, pieces: Mapping[nn.Parameter, Tensor]) -> None:
    """Put pieces in the places of parameters, wherever these stand."""
    made = {old: nn.Parameter(piece.detach().clone(), old.requires_grad) for old, piece in pieces.items()}
    for part in model.modules():
        for name, old in list(part._parameters.items()):
            if old is not None and old in made:
                setattr(part, name, made[old])


def _fewer(ep: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        groups = module.groups
        if isinstance(groups, Groups) and groups.ends_E is not None:
            groups.follow(Groups(groups.ends_E[: len(groups.ends_E) // ep]))

    return hook


def _some(sizes: list[int]) -> str:
    """The sizes in words, the first of them where they are many."""
    said = [str(size) for size in sizes[:6]]
    return ", ".join(said[:-1]) + (" or " if said[:-1] else "") + said[-1] + (" …" if len(sizes) > 6 else "")
