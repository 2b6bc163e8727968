"""The gradient's norm and clipping where weights are spread over processes in several ways. No Lightning here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from blueprint.ops import is_spread, own


@torch.no_grad()
def norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients as one vector, the same in all processes: each number counts once, wherever it lies."""
    if not any(map(is_spread, gradients)):
        return torch.nn.utils.get_total_norm(gradients)
    groups: dict[tuple[Any, ...], list[Tensor]] = {}
    for gradient in gradients:
        groups.setdefault(_cuts(gradient), []).append(own(gradient))
    squares = []
    for (mesh, *cuts), pieces in groups.items():
        square = torch.stack([torch.linalg.vector_norm(piece, dtype=torch.float32) for piece in pieces]).square().sum()
        for number in cuts:
            dist.all_reduce(square, group=mesh.get_group(number))
        squares.append(square)
    return torch.stack(squares).sum().sqrt()


@torch.no_grad()
def clip(gradients: Sequence[Tensor], norm: Tensor, bound: float, algorithm: str) -> None:
    """Scale gradients of this norm down to the bound, or cut every number of them at it."""
    pieces = [own(gradient) for gradient in gradients]
    if algorithm == "value":
        torch._foreach_clamp_min_(pieces, -bound)
        torch._foreach_clamp_max_(pieces, bound)
        return
    share = (bound / (norm + 1e-6)).clamp(max=1.0)
    for piece in pieces:
        piece.mul_(share.to(piece.device))


def _cuts(gradient: Tensor) -> tuple[Any, ...]:
    """The mesh over which a gradient is spread, and the dimensions along which processes hold different pieces."""
    from torch.distributed.tensor import DTensor, Replicate

    if not isinstance(gradient, DTensor):
        return (None,)
    cuts = [number for number, placed in enumerate(gradient.placements) if not isinstance(placed, Replicate)]
    return (gradient.device_mesh, *cuts)
