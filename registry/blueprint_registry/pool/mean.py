"""The mean of all tokens."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint.kinds import Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.place_nn import MeanPool


@register("mean")
class Mean(Pool):
    """The mean of all tokens (Reimers & Gurevych, 2019, §3)."""

    def build(self, at: Site) -> "MeanPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.place_nn import MeanPool

        return MeanPool()
