"""The first token beside the mean of the others."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from blueprint.component import Site, register
from blueprint.kinds import Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.place_nn import FirstAndMeanPool


@register("first_and_mean")
class FirstAndMean(Pool):
    """The first token beside the mean of the others, twice as wide as a token (Oquab et al., 2023, §A)."""

    skip: Annotated[int, Field(ge=0)] = 0
    """Tokens after the first that the mean leaves out, such as registers (Darcet et al., 2024, §2.2)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """All others, and all but one."""
        return [{}, {"skip": 1}]

    def pooled_width(self, at: Site) -> int:
        """Two tokens wide."""
        return 2 * at.width

    def build(self, at: Site) -> "FirstAndMeanPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.place_nn import FirstAndMeanPool

        return FirstAndMeanPool(self)
