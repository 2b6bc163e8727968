"""A learned query that attends to all tokens."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule, slot
from blueprint.kinds import FeedForward, Norm, Pool

if TYPE_CHECKING:
    from blueprint_registry.pool.attention_nn import AttentionPool


@register("attention")
class Attention(Pool):
    """What a learned query gathers from all tokens, y = attend(query, x), and after it y + feed_forward(norm(y)) where
    that is said (Lee et al., 2019, §3.2; Zhai et al., 2022, §3.3; SigLIP)."""

    heads: PositiveInt
    """Heads of the attention, each of d_model / heads channels."""

    bias: bool = True
    """Whether the projections of queries, keys, values and output have a bias."""

    feed_forward: FeedForward | None = slot(None)
    """What refines the vector, added to it; null for nothing."""

    norm: Norm | None = slot(None)
    """A norm before the feed-forward; null for none."""

    @rule("norm", "feed_forward")
    def _norm_of_a_layer(norm: Norm | None, feed_forward: FeedForward | None) -> Faults:
        if norm is not None and feed_forward is None:
            return Fault("`norm` stands before a feed-forward, and there is none", "norm", "say `feed_forward`")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The bare query, and SigLIP's."""
        return [{"heads": 4}, {"heads": 2, "bias": False, "feed_forward": "mlp", "norm": "layer"}]

    def check(self, at: Site) -> Faults:
        """Heads share the width evenly."""
        if at.width % self.heads:
            return Fault(f"{self.heads} heads cannot share a width of {at.width} evenly", "heads")
        return None

    def miniature(self, at: Site) -> Self:
        """As many heads as a small width has room for."""
        heads = next(n for n in range(min(self.heads, at.width), 0, -1) if at.width % n == 0)
        return super(Attention, self.model_copy(update={"heads": heads})).miniature(at)

    def build(self, at: Site) -> "AttentionPool":
        """The module."""
        from blueprint_registry.pool.attention_nn import AttentionPool

        return AttentionPool(self, at)
