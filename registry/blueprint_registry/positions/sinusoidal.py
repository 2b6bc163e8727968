"""Sines and cosines of the position."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Positions

if TYPE_CHECKING:
    from blueprint_registry.positions.sinusoidal_nn import SinusoidalPositions


@register("sinusoidal")
class Sinusoidal(Positions):
    """Sines and cosines of the position at geometrically falling frequencies (Vaswani et al., 2017, §3.5)."""

    layout: Literal["interleaved", "halves", "tensor2tensor"] = "interleaved"
    """Where they stand: `interleaved` alternates sine and cosine as in the paper; `halves` puts all sines before all
    cosines; `tensor2tensor` does so too, with frequencies down to exactly 1/10000 (its authors' code, fairseq)."""

    offset: Annotated[int, Field(ge=0)] = 0
    """Added to every position (2 in XGLM, the padding id + 1 in fairseq)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Every layout, and an offset."""
        return [{"layout": "interleaved"}, {"layout": "halves"}, {"layout": "tensor2tensor", "offset": 2}]

    def check(self, at: Site) -> Faults:
        """A sine needs its cosine."""
        if at.width % 2:
            return Fault(f"sinusoidal positions pair every sine with a cosine: the width {at.width} must be even")
        return None

    def build(self, at: Site) -> "SinusoidalPositions":
        """The module; it has neither parameters nor buffers."""
        from blueprint_registry.positions.sinusoidal_nn import SinusoidalPositions

        return SinusoidalPositions(self, at)
