"""One normal distribution for all matrices."""

from typing import TYPE_CHECKING, Self

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Init

if TYPE_CHECKING:
    import torch


@register("normal")
class Normal(Init):
    """Every matrix and table from N(0, std²) (Radford et al., 2018, §4.1)."""

    std: PositiveFloat = 0.02
    """Standard deviation of every initial weight."""

    def build(self, at: Site) -> Self:
        """Itself: it holds nothing but what is said."""
        return self

    def fill(
        self, role: str, tensor: "torch.Tensor", fan_in: int, fan_out: int, generator: "torch.Generator", layers: int
    ) -> None:
        """Fill `tensor` in place, whatever its role."""
        tensor.normal_(0.0, self.std, generator=generator)
