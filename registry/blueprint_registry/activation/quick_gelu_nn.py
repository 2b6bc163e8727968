"""Gaussian error linear unit by sigmoid. Elementwise: tensors of any shape."""

import torch.nn.functional as F
from torch import Tensor, nn


class QuickGeluActivation(nn.Module):
    """x · σ(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        # As silu(a·x) / a: one kernel that keeps one tensor for the backward pass.
        return F.silu(x * 1.702) / 1.702
