"""Lion's step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blueprint.ops import Stepping, own, running


class Signed(Stepping):
    """w ← w − lr (sign(β₁ m + (1 − β₁) g) + λ w), then m ← β₂ m + (1 − β₂) g (Chen et al., 2023, alg. 2)."""

    def __init__(self, groups: list[dict[str, Any]], betas: Sequence[float]) -> None:
        super().__init__(groups, {"betas": tuple(betas)})

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Move a weight by the sign."""
        first, second = group["betas"]
        mean, weight, gradient = own(running(state, "mean", weight)), own(weight), own(gradient)
        way = torch.lerp(gradient, mean, first).sign_()
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(way, alpha=-group["lr"])
        mean.lerp_(gradient, 1 - second)
