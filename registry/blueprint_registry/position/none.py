"""No position."""

from typing import TYPE_CHECKING, ClassVar

from blueprint.component import Site, register
from blueprint.kinds import Position

if TYPE_CHECKING:
    from torch import nn


@register("none")
class None_(Position):
    """No position inside attention: order comes from the embeddings, or the causal mask alone (Haviv et al., 2022)."""

    reads_positions: ClassVar[bool] = False

    def build(self, at: Site) -> "nn.Module":
        """A module with no hook."""
        from torch import nn

        return nn.Module()
