"""The sum of the stream and the sublayer's output."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint.kinds import Residual

if TYPE_CHECKING:
    from blueprint_registry.residual.plain_nn import PlainResidual


@register("plain")
class Plain(Residual):
    """The sum: x + y (He et al., 2016, *Deep Residual Learning*, eq. 1)."""

    def build(self, at: Site) -> "PlainResidual":
        """The module; it has no parameters."""
        from blueprint_registry.residual.plain_nn import PlainResidual

        return PlainResidual()
