"""Layer norm."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint.kinds import Norm

if TYPE_CHECKING:
    from blueprint_registry.norm.layer_nn import LayerNorm


@register("layer")
class Layer(Norm):
    """Layer norm: (x − mean) / sqrt(variance + eps) · weight + bias (Ba, Kiros & Hinton, 2016, eq. 4)."""

    eps: PositiveFloat = 1e-5
    """Added to the variance before the root, so that a constant vector stays finite."""

    affine: bool = True
    """Whether each channel is multiplied by a learned weight, and shifted where `bias` says so."""

    bias: bool = True
    """Whether a learned shift is added; without `affine` there is none."""

    offset: Literal[0, 1] = 0
    """Added to the stored weight: 1 keeps the weight around zero, so that decay pulls the gain towards 1 (Nemotron)."""

    @rule("offset", "affine")
    def _offset_needs_weight(offset: int, affine: bool) -> Faults:
        if affine or not offset:
            return None
        return Fault("`offset` does nothing without `affine`: no weight is stored", fix="say `offset: 0`")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, without bias, stored around zero, and without anything learned."""
        return [{}, {"bias": False}, {"offset": 1}, {"affine": False}]

    def filled(self, at: Site) -> Self:
        """Without `affine` there is no bias."""
        return super().filled(at).model_copy(update={"bias": self.affine and self.bias})

    def build(self, at: Site) -> "LayerNorm":
        """The module over `at.width` channels."""
        from blueprint_registry.norm.layer_nn import LayerNorm

        return LayerNorm(self, at)
