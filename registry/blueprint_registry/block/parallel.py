"""The layer whose attention and feed-forward stand side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Site, register, slot
from blueprint.kinds import Attention, Block, FeedForward, Norm, Residual

if TYPE_CHECKING:
    from blueprint_registry.block.parallel_nn import ParallelBlock


@register("parallel")
class Parallel(Block):
    """Attention and feed-forward side by side: x + f(n(x)) + g(n(x)) (Wang & Komatsuzaki, 2021; Chowdhery et al., 2022,
    §2)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "incremental", "exportable"})

    attention: Attention = slot("multi_head")
    """How tokens see each other."""
    feed_forward: FeedForward = slot("gated")
    """What each token goes through by itself."""
    attention_norm: Norm | None = slot(inherit=True)
    """The norm before the attention; null leaves it out."""
    feed_forward_norm: Norm | None = slot(None)
    """The norm before the feed-forward; null gives it what the attention is given."""
    residual: Residual = slot("plain")
    """How the sum of the two joins the stream."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of either's output dropped while training, before it joins the stream."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """One norm for both, as PaLM has it, and one for each, as GPT-NeoX has them."""
        return [{}, {"feed_forward_norm": "layer", "dropout": 0.1}]

    def build(self, at: Site) -> ParallelBlock:
        """The module."""
        from blueprint_registry.block.parallel_nn import ParallelBlock

        return ParallelBlock(self, at)
