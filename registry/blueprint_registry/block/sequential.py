"""The ordinary layer: attention, then the feed-forward, each with its norm and its residual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field

from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Attention, Block, FeedForward, Norm, Residual

if TYPE_CHECKING:
    from blueprint_registry.block.sequential_nn import SequentialBlock


class Placement(NamedTuple):
    """Where a sublayer `f` is normalised: endings of the names of the norms, empty where there is none."""

    before: str = ""
    """`n` of f(n(x))."""
    within: str = ""
    """`n` of x + n(f(x))."""
    after: str = ""
    """`n` of n(x + f(x))."""

    @property
    def names(self) -> tuple[str, ...]:
        """The endings there are."""
        return tuple(name for name in self if name)


PLACEMENTS = {
    "pre": Placement(before="norm"),
    "post": Placement(after="norm"),
    "output": Placement(within="post_norm"),
    "sandwich": Placement(before="norm", within="post_norm"),
}


@register("sequential")
class Sequential(Block):
    """Attention, then feed-forward, each added to the stream (Vaswani et al., 2017, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "incremental", "exportable"})

    attention: Attention | None = slot("multi_head")
    """How tokens see each other; null for a block of the feed-forward alone."""
    feed_forward: FeedForward | None = slot("gated")
    """What each token goes through by itself; null for a block of attention alone."""
    placement: Literal["pre", "post", "output", "sandwich"] = "pre"
    """Where the norms stand: `pre` x + f(n(x)) (Xiong et al., 2020), `post` n(x + f(x)) (Vaswani et al., 2017),
    `output` x + n(f(x)) (OLMo 2, 2024, §3.3), `sandwich` x + n(f(n(x))) with two norms (Ding et al., 2021, §2.4)."""
    attention_norm: Norm | None = slot(inherit=True)
    """The norm, or norms, of the attention; null leaves them out."""
    feed_forward_norm: Norm | None = slot(inherit=True)
    """The norm, or norms, of the feed-forward; null leaves them out."""
    residual: Residual = slot("plain")
    """How what a sublayer computes joins the stream."""
    residual_from: Literal["stream", "normed"] = "stream"
    """What it joins: the `stream` x, or, where the norm stands before the sublayer, the `normed` n(x), as in
    n(x) + f(n(x)) (Megatron-LM's `apply_residual_connection_post_layernorm`, an option of BLOOM and Falcon)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each sublayer's output dropped while training, before it joins the stream."""

    @rule("attention", "feed_forward")
    def _does_something(attention: Attention | None, feed_forward: FeedForward | None) -> Faults:
        if attention is None and feed_forward is None:
            return Fault("a block with neither attention nor feed_forward does nothing", fix="keep one of them")
        return None

    @rule("placement", "attention_norm", "feed_forward_norm")
    def _places_a_norm(placement: str, attention_norm: Norm | None, feed_forward_norm: Norm | None) -> Faults:
        if placement != "pre" and attention_norm is None and feed_forward_norm is None:
            return Fault(f"`placement: {placement}` places no norm, as both are null", fix="leave `placement` out")
        return None

    @rule("residual_from", "placement")
    def _joins_what_there_is(residual_from: str, placement: str) -> Faults:
        if residual_from == "normed" and not PLACEMENTS[placement].before:
            return Fault(
                f"with `placement: {placement}` no norm stands before a sublayer, for its output to join the normed",
                fix="say `placement: pre` or `sandwich`, or leave `residual_from` out",
            )
        return None

    @rule("residual_from", "attention", "attention_norm", "feed_forward", "feed_forward_norm")
    def _joins_something_normed(residual_from: str, *said: Attention | FeedForward | Norm | None) -> Faults:
        normed = [part for part, norm in (said[:2], said[2:]) if part is not None and norm is not None]
        if residual_from == "normed" and not normed:
            return Fault("there is no norm whose value a sublayer's output could join", fix="leave it out")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Every placement; one norm left out; one sublayer alone; outputs that join what was normed."""
        placed: list[dict[str, Any]] = [{"placement": name} for name in PLACEMENTS]
        alone: list[dict[str, Any]] = [{"feed_forward": None}, {"attention": None}]
        return [*placed, {"attention_norm": None, "dropout": 0.1}, *alone, {"residual_from": "normed"}]

    @property
    def sublayers(self) -> tuple[str, ...]:
        """The sublayers there are, in order."""
        return tuple(name for name in ("attention", "feed_forward") if getattr(self, name) is not None)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """Each sublayer with its norms and its residual; a site's last step is the name of the module."""
        for name in self.sublayers:
            yield name, getattr(self, name), at.child(name)
            norm = getattr(self, f"{name}_norm")
            for ending in PLACEMENTS[self.placement].names if norm is not None else ():
                yield f"{name}_norm", norm, at.child(f"{name}_{ending}")
            yield "residual", self.residual, at.child(f"{name}_residual")

    def filled(self, at: Site) -> Self:
        """The norm of a sublayer that is not there is null."""
        absent = {"attention", "feed_forward"} - set(self.sublayers)
        return super().filled(at).model_copy(update={f"{name}_norm": None for name in absent})

    def build(self, at: Site) -> SequentialBlock:
        """The module."""
        from blueprint_registry.block.sequential_nn import SequentialBlock

        return SequentialBlock(self, at)
