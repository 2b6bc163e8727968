"""Rotary positions.

Shapes: `B` batch, `H` heads, `T` tokens, `E` head width, `W` rotated width, `F` frequencies (half of W).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import angles, rotate

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.rope import Rope


class RopePosition(nn.Module):
    """Turns the first W channels of every head by angles position · theta^(−2i/W), computed in float32."""

    def __init__(self, said: Rope, at: Site) -> None:
        super().__init__()
        self.width, self.interleaved, self.theta = said.rotated(at), said.pairs == "interleaved", said.theta
        # No buffer: nothing to save, to lose on the meta device or to be rounded by a change of dtype.
        step_F = torch.arange(0, self.width, 2, dtype=torch.float32, device="cpu") / self.width
        self._frequency_F = 1.0 / self.theta**step_F
        self._key = (type(self), repr(said), self.width, at.max_length)
        self.scaling, self.magnitude, self._at = said.scaling, 1.0, at.child("scaling", width=self.width)
        if self.scaling is not None:
            self._frequency_F = self.scaling.frequencies(self.theta, step_F, self._at)
            self.magnitude = self.scaling.magnitude(self._at)
        #: What latent attention multiplies its scores by besides.
        self.sharpness = 1.0 if self.scaling is None else self.scaling.sharpness(self._at)
        #: Whether the angles of a token change as its sequence grows.
        self.by_length = self.steady(1) is not None
        self._step_F = step_F

    def steady(self, length: int) -> int | None:
        """Up to how many tokens the angles stay what they are in a sequence of `length`; None: for ever."""
        return None if self.scaling is None else self.scaling.steady(length, self._at)

    def rotate(self, x_BHTE: Tensor, position_BT: Tensor) -> Tensor:
        """Queries or keys (B, H, T, E), turned as their positions (B, T) say; the same shape and dtype."""
        frequency_F, key = self._frequency_F.to(position_BT.device), self._key
        if self.by_length:
            assert self.scaling is not None
            length_B, step_F = position_BT.amax(1) + 1, self._step_F.to(position_BT.device)
            frequency_F = self.scaling.frequencies(self.theta, step_F, self._at, length_B)
        cos_B1TW, sin_B1TW = angles(
            position_BT, frequency_F, scale=self.magnitude, interleaved=self.interleaved, key=key
        )
        return rotate(x_BHTE, cos_B1TW, sin_B1TW, interleaved=self.interleaved)

    def extra_repr(self) -> str:
        """Width, base and pairing, for printing."""
        return f"{self.width}, theta={self.theta:g}, interleaved={self.interleaved}"
