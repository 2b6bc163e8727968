"""T5's learned biases."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Position

if TYPE_CHECKING:
    from blueprint_registry.position.t5_bias_nn import T5BiasPosition


@register("t5_bias")
class T5Bias(Position):
    """A learned number added to the scores, for each head and bucket of distances: near ones alone, far ones in buckets
    that widen with the logarithm (Raffel et al., 2020, *T5*, §2.1). T5 itself has no other scale: say `scale: 1`. It
    may stand beside absolute positions in the embedding (MPNet; Song et al., 2020)."""

    traits: ClassVar[frozenset[str]] = frozenset({"bias"})

    buckets: Annotated[int, Field(ge=2)] = 32
    """How many buckets there are; where tokens see both ways, half of them are for what comes after."""

    max_distance: PositiveInt = 128
    """The distance from which on all share the last bucket."""

    scope: Literal["stack", "layer"] = "stack"
    """Whether all layers of a stack share one table, as in T5 (those of them that say the same here), or each layer has
    its own."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """T5's own, and few buckets for short contexts, learned by each layer for itself."""
        return [{}, {"buckets": 8, "max_distance": 10, "scope": "layer"}]

    def exact(self, at: Site) -> int:
        """How many distances, from 0, have a bucket of their own: half of a direction's."""
        return self.buckets // 2 if at.causal else self.buckets // 2 // 2

    def check(self, at: Site) -> Faults:
        """There must be a bucket for each direction, near and far, and a distance that is far."""
        if not at.causal and (self.buckets % 2 or self.buckets < 4):
            message = "halves of the buckets are for what comes before and after, each with near and far ones"
            return Fault(f"{message}: {self.buckets} do not suffice", "buckets", "take an even number from 4 on")
        if self.max_distance <= self.exact(at):
            message = f"distances below {self.exact(at)} have a bucket each, so that far ones must begin beyond"
            return Fault(f"{message}: {self.max_distance} does not", "max_distance", "raise it, or take fewer buckets")
        return None

    def build(self, at: Site) -> "T5BiasPosition":
        """The module, with a table for `at.heads` heads."""
        from blueprint_registry.position.t5_bias_nn import T5BiasPosition

        return T5BiasPosition(self, at)
