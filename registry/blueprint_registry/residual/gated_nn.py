"""The sum of stream and gated sublayer. Shapes: `B` batch, `T` tokens, `D` model width."""

import torch
from torch import Tensor, nn


class GatedResidual(nn.Module):
    """x + tanh(gate) · y."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((1,), float(initial)))

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream `x_BTD` with the sublayer's output `y_BTD`, as far as the gate is open, added."""
        return torch.addcmul(x_BTD, y_BTD, self.gate.tanh().to(y_BTD.dtype))
