"""The token with the largest id."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.pool._ids import IdPool

if TYPE_CHECKING:
    from blueprint_registry.pool.ids_nn import LargestPool


@register("largest")
class Largest(IdPool):
    """The token with the largest id, which in CLIP's own vocabulary is the one that ends a text (Radford et al., 2021,
    as released)."""

    def build(self, at: Site) -> "LargestPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.ids_nn import LargestPool

        return LargestPool()
