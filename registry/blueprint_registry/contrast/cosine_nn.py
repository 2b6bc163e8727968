"""The cosine of two vectors, scaled. Shapes: `I` images, `J` texts, `N` either, `D` width of the vectors
given, `P` of those compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import Linear, own

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.contrast.cosine import Cosine


class CosineContrast(nn.Module):
    """exp(scale) · cos(image W, text V) + bias."""

    def __init__(self, said: Cosine, at: Site) -> None:
        super().__init__()
        self.text = self._projection(said, at, "text")
        self.image = self._projection(said, at, "image")
        self.scale = nn.Parameter(torch.tensor(float(said.scale)))
        self.scale_at_most = said.scale_at_most
        self.bias = None if said.bias is None else nn.Parameter(torch.tensor(float(said.bias)))

    @staticmethod
    def _projection(said: Cosine, at: Site, side: str) -> nn.Module | None:
        if said.width is None or said.projected not in ("both", side):
            return None
        return Linear(at.extra[side], said.width, said.projection_bias)

    def forward(self, image_ID: Tensor | None, text_JD: Tensor | None) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Logits (I, J), where both sides are given, and either's vectors of length 1, by its name."""
        sides = {"text": (self.text, text_JD), "image": (self.image, image_ID)}
        vectors = {name: self._unit(layer, x_ND) for name, (layer, x_ND) in sides.items() if x_ND is not None}
        if len(vectors) < len(sides):
            return None, vectors
        return self.compare(vectors["image"], vectors["text"]), vectors

    def compare(self, image_IP: Tensor, text_JP: Tensor) -> Tensor:
        """Logits (I, J) of vectors that were given, these and others."""
        logits_IJ = image_IP @ text_JP.mT * self.scale.exp()
        return logits_IJ if self.bias is None else logits_IJ + self.bias

    @torch.no_grad()
    def settle(self, everyone: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """After a step: hold the scale where it may be at most, the same in every process; what it is now."""
        if self.scale_at_most is not None:
            self.scale.clamp_(max=math.log(self.scale_at_most))
        return {"logit_scale": own(self.scale).exp()}

    @staticmethod
    def _unit(layer: nn.Module | None, x_ND: Tensor) -> Tensor:
        return F.normalize(x_ND if layer is None else layer(x_ND), dim=-1)
