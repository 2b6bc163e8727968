"""A table of token vectors."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt

from blueprint.component import Component, Factor, Fault, Faults, Site, Size, register, rule, slot
from blueprint.kinds import Embedding, Norm, Positions

if TYPE_CHECKING:
    from blueprint_registry.embedding.tokens_nn import TokensEmbedding


@register("tokens")
class Tokens(Embedding):
    """A table of token vectors, scaled, with absolute positions and types of tokens added where asked (Vaswani et al.,
    2017, §3.4; Devlin et al., 2019, §3)."""

    width: Size | None = None
    """Width of the table of tokens; a projection then leads to d_model (Lan et al., 2020, §3.1). Null for a table of
    d_model, and no projection."""

    project: Literal["normed", "sum", "tokens"] = "normed"
    """What the projection is of: the `normed` sum, so that all tables and the norm are as narrow (ALBERT), the `sum`
    ahead of a norm of d_model (DeBERTa), or the `tokens` alone, so that positions and types are of d_model, too (OPT
    350M; Zhang et al., 2022)."""

    projection_bias: bool = True
    """Whether the projection adds a bias."""

    positions: Positions | None = slot(None)
    """Absolute positions added to the scaled token vectors; null adds none."""

    token_types: PositiveInt | None = None
    """How many types of tokens there are, such as BERT's sentences A and B: a vector for each is added. Tokens are of
    type 0 where `token_type_ids` do not say otherwise; null adds none."""

    scale: Factor = 1
    """What token vectors are multiplied with, such as `sqrt(d_model)`."""

    norm: Norm | None = slot(None)
    """A norm on the sum of tokens, positions and types; null leaves the sum as it is."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the sum dropped in training, after its norm, and before a projection of what is normed."""

    @rule("width", "project", "projection_bias")
    def _there_is_a_projection(width: int | str | None, project: str, projection_bias: bool) -> Faults:
        said = {"project": project != "normed", "projection_bias": not projection_bias}
        idle = [key for key, changed in said.items() if changed and width is None]
        what = "there is no projection: the table is of d_model"
        return [Fault(what, key, f"say `width`, or remove `{key}`") for key in idle]

    def check(self, at: Site) -> Faults:
        """Each order of projecting is another only where something stands between."""
        joined, after = self.positions or self.token_types, self.norm or self.dropout
        if self.project == "tokens" and self.width is not None and not joined:
            fix = "say `project: sum`" if after else "remove `project`"
            return Fault("nothing joins the tokens: they are the sum", "project", fix)
        if self.project == "sum" and self.width is not None and not after:
            return Fault("the sum is neither normed nor dropped: it is projected as it is", "project", "remove it")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A bare table, a scaled one with norm and dropout, and narrow ones with types of tokens."""
        narrow = {"width": "d_model / 2", "token_types": 2, "norm": "layer"}
        alone = {**narrow, "project": "tokens", "projection_bias": False}
        scaled = {"scale": "sqrt(d_model)", "norm": "layer", "dropout": 0.1}
        return [{}, scaled, narrow, alone, {**narrow, "project": "sum"}]

    def table_width(self, at: Site) -> int:
        """The width of the table of tokens here."""
        return at.width if self.width is None else int(at.number(self.width))

    def sum_width(self, at: Site) -> int:
        """The width of what is added up here."""
        return at.width if self.project == "tokens" else self.table_width(at)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts inside, at the width of the sum; a norm after the projection at that of the model."""
        inside = replace(at, width=self.sum_width(at))
        for name, part, site in super().parts(inside):
            yield name, part, at.child(name) if name == "norm" and self.project == "sum" else site

    def miniature(self, at: Site) -> Self:
        """Tables that are narrower than the model stay so."""
        small = self.model_copy(update={} if self.width is None else {"width": at.d_model // 2})
        return super(Tokens, small).miniature(at)

    def build(self, at: Site) -> "TokensEmbedding":
        """The module; its table has `at.vocab_size` rows of the table's width."""
        from blueprint_registry.embedding.tokens_nn import TokensEmbedding

        return TokensEmbedding(self, at)
