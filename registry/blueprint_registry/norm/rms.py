"""Root-mean-square norm."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint.kinds import Norm

if TYPE_CHECKING:
    from blueprint_registry.norm.rms_nn import RmsNorm


@register("rms")
class Rms(Norm):
    """Root-mean-square norm: x / sqrt(mean(x²) + eps) · weight (Zhang & Sennrich, 2019, eq. 4)."""

    eps: PositiveFloat = 1e-6
    """Added to the mean square before the root, so that a zero vector stays finite."""

    affine: bool = True
    """Whether each channel is multiplied by a learned weight."""

    offset: Literal[0, 1] = 0
    """Added to the stored weight: 1 keeps the weight around zero, so that decay pulls the gain towards 1 (Gemma)."""

    @rule("offset", "affine")
    def _offset_needs_weight(offset: int, affine: bool) -> Faults:
        if affine or not offset:
            return None
        return Fault("`offset` does nothing without `affine`: no weight is stored", fix="say `offset: 0`")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, stored around zero, and without weight."""
        return [{}, {"offset": 1}, {"affine": False}]

    def build(self, at: Site) -> "RmsNorm":
        """The module over `at.width` channels."""
        from blueprint_registry.norm.rms_nn import RmsNorm

        return RmsNorm(self, at)
