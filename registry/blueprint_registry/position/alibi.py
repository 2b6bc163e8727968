"""Attention with linear biases."""

from typing import TYPE_CHECKING, ClassVar

from blueprint.component import Site, register
from blueprint.kinds import Position

if TYPE_CHECKING:
    from blueprint_registry.position.alibi_nn import AlibiPosition


@register("alibi")
class Alibi(Position):
    """Attention with linear biases: −slope · |i − j| added to the scores, a slope a head (Press et al., 2022, §3)."""

    traits: ClassVar[frozenset[str]] = frozenset({"positional", "bias"})

    def build(self, at: Site) -> "AlibiPosition":
        """The module for `at.heads` heads; it has neither parameters nor buffers."""
        from blueprint_registry.position.alibi_nn import AlibiPosition

        return AlibiPosition(self, at)
