"""A normal distribution, narrower where sublayers write into the stream."""

from typing import TYPE_CHECKING, Self

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Init

if TYPE_CHECKING:
    import torch


@register("scaled")
class Scaled(Init):
    """As `normal`, with std / √N for the N = 2 · layers output projections that add to the stream, so that its variance
    does not grow with depth (Radford et al., 2019, *GPT-2*, §2.3)."""

    std: PositiveFloat = 0.02
    """Standard deviation of initial weights other than those of output projections."""

    def build(self, at: Site) -> Self:
        """Itself: it holds nothing but what is said."""
        return self

    def fill(
        self, role: str, tensor: "torch.Tensor", fan_in: int, fan_out: int, generator: "torch.Generator", layers: int
    ) -> None:
        """Fill `tensor` in place; the role `residual` is that of output projections into the stream."""
        std = self.std / (2 * layers) ** 0.5 if role == "residual" else self.std
        tensor.normal_(0.0, std, generator=generator)
