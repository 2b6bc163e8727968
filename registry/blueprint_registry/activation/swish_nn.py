"""Linear unit weighted by a sigmoid. Elementwise: tensors of any shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint_registry.activation.swish import Swish


class SwishActivation(nn.Module):
    """x · σ(alpha x)."""

    def __init__(self, said: Swish) -> None:
        super().__init__()
        self.alpha = said.alpha

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        # As silu(a·x) / a: one kernel that keeps one tensor for the backward pass.
        return F.silu(x * self.alpha) / self.alpha

    def extra_repr(self) -> str:
        """The steepness, for printing."""
        return f"alpha={self.alpha:g}"
