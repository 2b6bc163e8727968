"""Uniform by fan-in and fan-out."""

from typing import TYPE_CHECKING, Self

from blueprint.component import Site, register
from blueprint.kinds import Init

if TYPE_CHECKING:
    import torch


@register("xavier")
class Xavier(Init):
    """Matrices from U(−a, a), a = √(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010, eq. 16); tables, which multiply
    nothing, from N(0, 1/d) with d their width."""

    def build(self, at: Site) -> Self:
        """Itself: it holds nothing but what is said."""
        return self

    def fill(
        self, role: str, tensor: "torch.Tensor", fan_in: int, fan_out: int, generator: "torch.Generator", layers: int
    ) -> None:
        """Fill `tensor` in place."""
        if role == "embedding":
            tensor.normal_(0.0, tensor.shape[-1] ** -0.5, generator=generator)
        else:
            bound = (6.0 / (fan_in + fan_out)) ** 0.5
            tensor.uniform_(-bound, bound, generator=generator)
