"""A dense layer before a head's output. Shapes: `N` any leading axes, `D` width in, `E` width out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from blueprint.ops import Linear

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint.kinds import Norm
    from blueprint_registry.activation import Activation


class Dense(nn.Module):
    """norm(act(x W + b)) from `width` channels to `at.width`; without an activation norm(x), without a norm no norm."""

    def __init__(self, width: int, activation: Activation | None, norm: Norm | None, bias: bool, at: Site) -> None:
        super().__init__()
        self.dense = None if activation is None else Linear(width, at.width, bias=bias)
        self.activation = None if activation is None else activation.build(at.child("activation"))
        self.norm = None if norm is None else norm.build(at.child("norm"))

    def forward(self, x_ND: Tensor) -> Tensor:
        """(…, D) to (…, E)."""
        x_NE = x_ND if self.dense is None or self.activation is None else self.activation(self.dense(x_ND))
        return x_NE if self.norm is None else self.norm(x_NE)
