"""The sum of stream and sublayer. Shapes: `B` batch, `T` tokens, `D` model width."""

from torch import Tensor, nn


class PlainResidual(nn.Module):
    """x + y."""

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """The stream `x_BTD` with the sublayer's output `y_BTD` added."""
        return x_BTD + y_BTD
