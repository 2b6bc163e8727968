"""DeBERTa's disentangled attention."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt

from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Norm, Position

if TYPE_CHECKING:
    from blueprint_registry.position.disentangled_nn import DisentangledPosition

Term = Literal["c2p", "p2c"]
TERMS: tuple[Term, ...] = ("c2p", "p2c")


@register("disentangled")
class Disentangled(Position):
    """Scores between content and relative position, besides those between contents: of queries with vectors of the
    distances, of vectors with keys (He et al., 2021, *DeBERTa*, §3.1; buckets as in version 2). Scores are sums of 1 +
    `terms` products: say `scale: 1/sqrt(3*head_dim)` for both terms. All layers of a stack share the vectors."""

    # Not `positional`: DeBERTa may add absolute positions to its embeddings besides (§3.2).
    traits: ClassVar[frozenset[str]] = frozenset({"content"})
    scope: ClassVar[str] = "stack"

    terms: list[Term] = ["c2p", "p2c"]
    """Which products are added: of contents that ask with positions (`c2p`), of positions that ask with contents
    (`p2c`)."""

    buckets: Annotated[int, Field(ge=4)] | None = 256
    """How far, on either side, vectors reach: half of it distances alone, then in buckets that widen with the
    logarithm; null for a vector for each distance."""

    max_distance: Annotated[int, Field(ge=4)] = 512
    """The distance from which on all share the last vector."""

    projections: Literal["attention", "own"] = "attention"
    """What makes keys and queries of the vectors: the projections of the attention, or others of each layer's own."""

    norm: Norm | None = slot(None)
    """A norm of the vectors, shared as they are; null for none."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the vectors' numbers dropped in training."""

    @rule("terms")
    def _terms_named_once(terms: list[Term]) -> Iterator[Fault]:
        if not terms:
            yield Fault("an empty list adds nothing", fix="say `position: none`")
        for index, name in enumerate(terms):
            if name in terms[:index]:
                yield Fault(f"`{name}` is named twice", f"terms.{index}")

    @rule("buckets", "max_distance")
    def _far_lies_beyond(buckets: int | None, max_distance: PositiveInt) -> Faults:
        if buckets is None:
            return None
        if buckets % 2:
            return Fault(f"half of the buckets hold one distance each: {buckets} is odd", "buckets")
        if max_distance <= buckets // 2 + 1:
            message = f"distances up to {buckets // 2} have a vector each, so that far ones must begin beyond"
            return Fault(f"{message}: {max_distance} does not", "max_distance", "raise it, or say `buckets: null`")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Both terms in few buckets under a norm, one with projections of its own, and every distance alone."""
        few = {"buckets": 8, "max_distance": 10}
        own = {**few, "terms": ["p2c"], "projections": "own", "dropout": 0.1}
        return [{**few, "norm": "layer"}, own, {"buckets": None, "max_distance": 7, "terms": ["c2p"]}]

    @property
    def span(self) -> int:
        """How many vectors there are for either direction."""
        return self.max_distance if self.buckets is None else self.buckets

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The norm, over the width of the stream."""
        if self.norm is not None:
            yield "norm", self.norm, at.child("norm", width=at.d_model)

    def filled(self, at: Site) -> Self:
        """The terms in one order, whichever they are said in."""
        return super().filled(at).model_copy(update={"terms": [term for term in TERMS if term in self.terms]})

    def build(self, at: Site) -> "DisentangledPosition":
        """The module for `at.heads` heads of `at.width` that share `at.kv_heads` of keys."""
        from blueprint_registry.position.disentangled_nn import DisentangledPosition

        return DisentangledPosition(self, at)
