"""A table of token vectors."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from blueprint.component import Number, Site, register, slot
from blueprint.kinds import Embedding, Norm, Positions

if TYPE_CHECKING:
    from blueprint_registry.embedding.tokens_nn import TokensEmbedding


@register("tokens")
class Tokens(Embedding):
    """A table of token vectors, scaled, with absolute positions added where asked (Vaswani et al., 2017, §3.4)."""

    positions: Positions | None = slot(None)
    """Absolute positions added to the scaled token vectors; null adds none."""

    scale: Number = 1
    """What token vectors are multiplied with, such as `sqrt(d_model)`."""

    norm: Norm | None = slot(None)
    """A norm on the sum of tokens and positions; null leaves the sum as it is."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the result dropped in training."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A bare table, and a scaled one with norm and dropout."""
        return [{}, {"scale": "sqrt(d_model)", "norm": "layer", "dropout": 0.1}]

    def build(self, at: Site) -> "TokensEmbedding":
        """The module; its table has `at.vocab_size` rows of `at.width`."""
        from blueprint_registry.embedding.tokens_nn import TokensEmbedding

        return TokensEmbedding(self, at)
