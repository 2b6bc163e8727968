"""The sum of stream and sublayer, weighted by channel. Shapes: `B` batch, `T` tokens, `D` model width."""

import torch
from torch import Tensor, nn


class LayerScaleResidual(nn.Module):
    """x + weight ⊙ y."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), float(initial)))

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream `x_BTD` with the sublayer's output `y_BTD`, weighted, added."""
        return torch.addcmul(x_BTD, y_BTD, self.weight.to(y_BTD.dtype))

    def extra_repr(self) -> str:
        """The width, for printing."""
        return f"{self.weight.shape[0]}"
