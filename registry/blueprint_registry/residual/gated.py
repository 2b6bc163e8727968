"""The sum of the stream and the sublayer's output behind a gate that opens while training."""

from typing import TYPE_CHECKING, Any

from blueprint.component import Number, Site, register
from blueprint.kinds import Residual

if TYPE_CHECKING:
    from blueprint_registry.residual.gated_nn import GatedResidual


@register("gated")
class Gated(Residual):
    """The sum with a learned gate: x + tanh(g) · y, one g a sublayer (Alayrac et al., 2022, *Flamingo*, §2.2)."""

    initial: Number = 0
    """What g starts as: 0 leaves the stream as if the sublayer were not there."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Closed at first, and ajar."""
        return [{}, {"initial": 0.5}]

    def build(self, at: Site) -> "GatedResidual":
        """The module, with one parameter."""
        from blueprint_registry.residual.gated_nn import GatedResidual

        return GatedResidual(at.number(self.initial))
