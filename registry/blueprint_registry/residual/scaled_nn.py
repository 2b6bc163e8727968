"""The sum of stream and sublayer, both scaled. Shapes: `B` batch, `T` tokens, `D` model width."""

import torch
from torch import Tensor, nn


class ScaledResidual(nn.Module):
    """stream · x + by · y."""

    def __init__(self, by: float, stream: float = 1) -> None:
        super().__init__()
        self.by, self.stream = by, stream

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """`stream` times the stream `x_BTD` with `by` times the sublayer's output `y_BTD` added."""
        return torch.add(x_BTD if self.stream == 1 else x_BTD * self.stream, y_BTD, alpha=self.by)

    def extra_repr(self) -> str:
        """The factors, for printing."""
        return f"by={self.by:g}, stream={self.stream:g}"
