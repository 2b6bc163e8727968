"""Expanded integral of the exponential linear unit. Elementwise: tensors of any shape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint_registry.activation.xielu import Xielu


class XieluActivation(nn.Module):
    """αp x² + βx for x > 0, else αn (e^min(x, eps) − 1 − x) + βx, where αp = softplus(alpha_p) and
    αn = β + softplus(alpha_n)."""

    beta: Tensor
    eps: Tensor

    def __init__(self, said: Xielu) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.full((1,), _before_softplus(said.alpha_p)))
        self.alpha_n = nn.Parameter(torch.full((1,), _before_softplus(said.alpha_n - said.beta)))
        self.register_buffer("beta", torch.tensor(said.beta))
        self.register_buffer("eps", torch.tensor(said.eps))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        rising, falling = F.softplus(self.alpha_p).to(x.dtype), (self.beta + F.softplus(self.alpha_n)).to(x.dtype)
        eps, beta = self.eps.to(x.dtype), self.beta.to(x.dtype)
        curved = torch.where(x > 0, rising * x * x, falling * (torch.expm1(torch.minimum(x, eps)) - x))
        return curved + beta * x


def _before_softplus(value: float) -> float:
    """What softplus makes `value` of."""
    return value + math.log(-math.expm1(-value))
