"""Muon's step.

O outputs and I inputs of a matrix, … the copies of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Stepping, own, piece_of, running, whole

#: The quintic's coefficients: steepest at zero, where small singular values begin (Jordan et al., 2024).
A, B, C = 3.4445, -4.7750, 2.0315

SCALES: dict[str, Callable[[int, int], float]] = {
    "shape": lambda d_out, d_in: math.sqrt(max(1.0, d_out / d_in)),
    "rms": lambda d_out, d_in: 0.2 * math.sqrt(max(d_out, d_in)),
}


class Orthogonal(Stepping):
    """m ← μ m + g, w ← (1 − lr λ) w − lr · scale · orthogonal(m), or of g + μ m (Jordan et al., 2024)."""

    def __init__(
        self, groups: list[dict[str, Any]], momentum: float, nesterov: bool, iterations: int, scale: str
    ) -> None:
        said = {"momentum": momentum, "nesterov": nesterov, "iterations": iterations, "scale": scale}
        super().__init__(groups, said)

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Move a matrix, or each of a stack; one that is spread is put together for it."""
        rate, momentum = group["lr"], group["momentum"]
        total = running(state, "sum", weight)
        total.mul_(momentum).add_(gradient)
        way = gradient.add(total, alpha=momentum) if group["nesterov"] else total
        step = orthogonal(whole(way), group["iterations"]).to(weight.dtype)
        held = own(weight)
        held.mul_(1 - rate * group["weight_decay"])
        held.add_(piece_of(step, weight), alpha=-rate * SCALES[group["scale"]](*weight.shape[-2:]))


def orthogonal(x_OI: Tensor, iterations: int) -> Tensor:
    """(…, O, I): the matrix with every singular value moved near 1, its vectors as they are, by a polynomial of it.

    GPUs compute in bfloat16, which the iteration bears; elsewhere at least float32, which is faster there.
    """
    wide = torch.bfloat16 if x_OI.is_cuda else torch.promote_types(x_OI.dtype, torch.float32)
    tall = x_OI.shape[-2] > x_OI.shape[-1]
    x: Tensor = (x_OI.mT if tall else x_OI).to(wide)
    # No singular value exceeds the root of the sum of all squares.
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.mT if tall else x
