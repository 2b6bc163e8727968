"""Shaw's relative positions."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Position

if TYPE_CHECKING:
    from blueprint_registry.position.shaw_nn import ShawPosition


@register("shaw")
class Shaw(Position):
    """A vector for each distance, clipped, beside every key and, if wanted, every value (Shaw et al., 2018,
    *Self-Attention with Relative Position Representations*, eq. 3 to 5)."""

    traits: ClassVar[frozenset[str]] = frozenset({"positional", "content", "values"})

    back: PositiveInt = 16
    """The distance from which on all keys before a query share a vector."""

    ahead: NonNegativeInt | None = None
    """The same for keys after it; null for as many as `back`, or 0 where no later key is seen."""

    values: bool = True
    """Whether values have vectors too; the paper found no loss without them."""

    per_head: bool = False
    """Whether each head has vectors of its own."""

    scope: Literal["layer", "stack"] = "layer"
    """Whether each layer has its own, or all layers of a stack (that say the same here) share them."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The paper's, clipped early; and keys alone, for each head, shared by the layers."""
        return [{"back": 4}, {"back": 3, "values": False, "per_head": True, "scope": "stack"}]

    def asks(self) -> frozenset[str]:
        """Values only where they have vectors."""
        return super().asks() - (frozenset() if self.values else {"values"})

    def check(self, at: Site) -> Faults:
        """No vectors for what is never seen."""
        if at.causal and self.ahead:
            return Fault("no query sees a later key here: vectors for them are never used", "ahead", "leave it out")
        return None

    def filled(self, at: Site) -> Self:
        """`ahead` written out."""
        ahead = self.ahead if self.ahead is not None else 0 if at.causal else self.back
        return super().filled(at).model_copy(update={"ahead": ahead})

    def build(self, at: Site) -> "ShawPosition":
        """The module for `at.heads` heads of `at.width`, with values of `at.value_dim`."""
        from blueprint_registry.position.shaw_nn import ShawPosition

        return ShawPosition(self, at)
