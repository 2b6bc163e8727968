"""The first token."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint.kinds import Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.place_nn import FirstPool


@register("first")
class First(Pool):
    """The first token, such as BERT's `[CLS]` or an image's prefix token (Devlin et al., 2019, §3)."""

    def build(self, at: Site) -> "FirstPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.place_nn import FirstPool

        return FirstPool()
