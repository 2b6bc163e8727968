"""The first token beside the mean of the others."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint.kinds import Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.place_nn import FirstAndMeanPool


@register("first_and_mean")
class FirstAndMean(Pool):
    """The first token beside the mean of the others, twice as wide as a token (Oquab et al., 2023, §A)."""

    def pooled_width(self, at: Site) -> int:
        """Two tokens wide."""
        return 2 * at.width

    def build(self, at: Site) -> "FirstAndMeanPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.place_nn import FirstAndMeanPool

        return FirstAndMeanPool()
