"""Tensors of which several processes hold a piece each (`DTensor`), and the same as one."""

from __future__ import annotations

import torch
from torch import Tensor


def is_spread(x: object) -> bool:
    """Whether processes hold a piece of it each."""
    # Imported late: a machine without the distributed half of torch has nothing spread either.
    from torch.distributed.tensor import DTensor

    return isinstance(x, DTensor)


def own(x: Tensor) -> Tensor:
    """The piece of a tensor that this process holds: all of one that is not spread. What is done to it is done to x."""
    if not is_spread(x):
        return x
    piece: Tensor = x.to_local()  # type: ignore[attr-defined]
    return piece


def whole(x: Tensor) -> Tensor:
    """A tensor as one, gathered where it is spread: every process that holds a piece has to call this."""
    if not is_spread(x):
        return x
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(x, DTensor)
    # The first dimension of the mesh was cut along last.
    found = x.redistribute(placements=[Replicate(), *x.placements[1:]]) if x.device_mesh.ndim > 1 else x
    gathered: Tensor = found.full_tensor()
    return gathered


def piece_of(x: Tensor, like: Tensor) -> Tensor:
    """What this process holds of `x`, which all have whole, if x is spread as `like` is; nothing is sent."""
    from torch.distributed.tensor import DTensor, Replicate
    from torch.distributed.tensor.placement_types import _StridedShard

    if not isinstance(like, DTensor):
        return x
    assert x.shape == like.shape, "pieces of something else"
    mesh, placements = like.device_mesh, like.placements
    cuts = [number for number, placement in enumerate(placements) if not isinstance(placement, Replicate)]
    if any(isinstance(placement, _StridedShard) for placement in placements):
        # The later dimension of the mesh was cut along first.
        cuts.reverse()
    place = mesh.get_coordinate()
    assert place is not None, "this process is not in the mesh"
    for number in cuts:
        axis = placements[number].dim  # type: ignore[attr-defined]
        pieces = torch.chunk(x, mesh.size(number), axis)
        # What does not divide evenly leaves the last processes with less, or nothing.
        x = pieces[place[number]] if place[number] < len(pieces) else x.narrow(axis, 0, 0)
    return x


def spread_like(x: Tensor, like: Tensor) -> Tensor:
    """`x`, which all processes have whole, spread over them as `like` is, with its own dtype."""
    from torch.distributed.tensor import DTensor

    if not isinstance(like, DTensor):
        return x.to(like.device)
    piece = piece_of(x, like).to(like.to_local().device, copy=True)
    made: Tensor = DTensor.from_local(
        piece.contiguous(), like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return made
