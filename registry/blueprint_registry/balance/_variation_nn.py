"""How uneven numbers are. E experts."""

from __future__ import annotations

from torch import Tensor


def squared_variation(x_E: Tensor) -> Tensor:
    """The square of the coefficient of variation, var(x) / mean(x)², a scalar: 0 where all are equal."""
    return x_E.var(correction=0) / x_E.mean().square().clamp_min(1e-20)
