"""The last token."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint.kinds import Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.place_nn import LastPool


@register("last")
class Last(Pool):
    """The last token, which has seen all others under a causal mask (Radford et al., 2018, §3.2)."""

    def build(self, at: Site) -> "LastPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.place_nn import LastPool

        return LastPool()
