"""Adafactor's step.

R rows and C columns of a matrix (or of each copy of a stack, or of a convolution's windows), … the axes before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Stepping, own, piece_of, running, whole


class Factored(Stepping):
    """Shazeer & Stern (2018): alg. 4 for matrices, alg. 5 for vectors, with the relative steps of alg. 6.

    Means stand where the paper sums, which comes to the same. What is kept is float32 under any precision.
    """

    def __init__(self, groups: list[dict[str, Any]], decay: float, clip: float, eps: float, smallest: float) -> None:
        super().__init__(groups, {"decay": decay, "clip": clip, "eps": eps, "smallest": smallest})

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Move a weight in proportion to its size; one that is spread is put together for it."""
        step = state["step"] = state.get("step", 0) + 1
        axes = tuple(range(1 if group["stacked"] else 0, weight.ndim))
        wide = torch.promote_types(weight.dtype, torch.float32)
        spread, weight, gradient = weight, whole(weight), whole(gradient)
        square = gradient.to(wide).square() + group["eps"]
        update = gradient.to(wide) * _inverse_root(square, state, 1 - step ** -group["decay"], len(axes) >= 2)
        update /= (_root_mean_square(update, axes) / group["clip"]).clamp(min=1)
        size = _root_mean_square(weight.to(wide), axes).clamp(min=group["smallest"])
        held = own(spread)
        held.mul_(1 - group["lr"] * group["weight_decay"])
        held.sub_(piece_of(update * (size * min(group["lr"], step**-0.5)), spread))


def _inverse_root(square: Tensor, state: dict[str, Any], keep: float, matrix: bool) -> Tensor:
    """1/√V̂ of the running mean V̂ of `square`, broadcastable to it, of which `keep` stays; matrices keep it by rows and
    columns."""
    if not matrix:
        return running(state, "mean", square).lerp_(square, 1 - keep).rsqrt()
    found = []
    for name, axis in (("rows", -1), ("columns", -2)):
        now = square.mean(axis, keepdim=True)
        found.append(running(state, name, now).lerp_(now, 1 - keep))
    rows_R1, columns_1C = found
    return (rows_R1 / rows_R1.mean(-2, keepdim=True)).rsqrt() * columns_1C.rsqrt()


def _root_mean_square(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The root of the mean square over `axes`, which stay as ones."""
    return (x.square().mean(axes, keepdim=True) if axes else x.square()).sqrt()
