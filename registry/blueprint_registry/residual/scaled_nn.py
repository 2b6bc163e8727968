"""The sum of stream and scaled sublayer. Shapes: `B` batch, `T` tokens, `D` model width."""

import torch
from torch import Tensor, nn


class ScaledResidual(nn.Module):
    """x + by · y."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream `x_BTD` with `by` times the sublayer's output `y_BTD` added."""
        return torch.add(x_BTD, y_BTD, alpha=self.by)

    def extra_repr(self) -> str:
        """The factor, for printing."""
        return f"by={self.by:g}"
