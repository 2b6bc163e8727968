"""The sum of the stream and a multiple of the sublayer's output."""

from typing import TYPE_CHECKING, Any

from blueprint.component import Number, Site, register
from blueprint.kinds import Residual

if TYPE_CHECKING:
    from blueprint_registry.residual.scaled_nn import ScaledResidual


@register("scaled")
class Scaled(Residual):
    """The sum with a fixed factor: x + by · y (Yang et al., 2023, *Tensor Programs VI*; IBM's Granite 3)."""

    by: Number
    """What the sublayer's output is multiplied with, such as `1 / sqrt(n_layers)`."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Shrinking with depth."""
        return [{"by": "1 / sqrt(2 * n_layers)"}]

    def build(self, at: Site) -> "ScaledResidual":
        """The module; it has no parameters."""
        from blueprint_registry.residual.scaled_nn import ScaledResidual

        return ScaledResidual(at.number(self.by))
