"""A table of token vectors."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PositiveInt

from blueprint.component import Component, Number, Site, Size, register, slot
from blueprint.kinds import Embedding, Norm, Positions

if TYPE_CHECKING:
    from blueprint_registry.embedding.tokens_nn import TokensEmbedding


@register("tokens")
class Tokens(Embedding):
    """A table of token vectors, scaled, with absolute positions and types of tokens added where asked (Vaswani et al.,
    2017, §3.4; Devlin et al., 2019, §3)."""

    width: Size | None = None
    """Width of the tables; a projection with a bias then leads to d_model (Lan et al., 2020, §3.1). Null for tables of
    d_model, and no projection."""

    positions: Positions | None = slot(None)
    """Absolute positions added to the scaled token vectors; null adds none."""

    token_types: PositiveInt | None = None
    """How many types of tokens there are, such as BERT's sentences A and B: a vector for each is added. Tokens are of
    type 0 where `token_type_ids` do not say otherwise; null adds none."""

    scale: Number = 1
    """What token vectors are multiplied with, such as `sqrt(d_model)`."""

    norm: Norm | None = slot(None)
    """A norm on the sum of tokens, positions and types, before the projection; null leaves the sum as it is."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the sum dropped in training, before the projection."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A bare table, a scaled one with norm and dropout, and a narrow one with types of tokens."""
        narrow = {"width": "d_model / 2", "token_types": 2, "norm": "layer"}
        return [{}, {"scale": "sqrt(d_model)", "norm": "layer", "dropout": 0.1}, narrow]

    def table_width(self, at: Site) -> int:
        """The width of the tables here."""
        return at.width if self.width is None else int(at.number(self.width))

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts inside, which work on the tables' width."""
        yield from super().parts(replace(at, width=self.table_width(at)))

    def miniature(self, at: Site) -> Self:
        """Tables that are narrower than the model stay so."""
        small = self.model_copy(update={} if self.width is None else {"width": at.d_model // 2})
        return super(Tokens, small).miniature(at)

    def build(self, at: Site) -> "TokensEmbedding":
        """The module; its table has `at.vocab_size` rows of the tables' width."""
        from blueprint_registry.embedding.tokens_nn import TokensEmbedding

        return TokensEmbedding(self, at)
