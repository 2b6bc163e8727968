"""The ordinary layer: attention, then the feed-forward, each with its norm and its residual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field

from blueprint.component import Component, Fault, Faults, Section, Site, register, rule, slot
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


#: The sublayers in the order of the data.
SUBLAYERS = ("attention", "cross_attention", "feed_forward")


@register("sequential")
class Sequential(Block):
    """Attention, in a decoder that has a memory attention to that, then feed-forward, each added to the stream (Vaswani
    et al., 2017, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "incremental", "exportable"})

    attention: Attention | None = slot("multi_head")
    """How tokens see each other; null for a block of the feed-forward alone."""
    cross_attention: Attention | None = slot(None)
    """How tokens see the memory of an encoder, after they have seen each other. In the decoder of an `encoder_decoder`
    what is not said is what `attention` says, without its mask and positions; null leaves it out, and elsewhere there
    is no memory to see."""
    feed_forward: FeedForward | None = slot("gated")
    """What each token goes through by itself; null for a block of attention alone."""
    placement: Literal["pre", "post", "output", "sandwich"] = "pre"
    """Where the norms stand: `pre` x + f(n(x)) (Xiong et al., 2020), `post` n(x + f(x)) (Vaswani et al., 2017),
    `output` x + n(f(x)) (OLMo 2, 2024, §3.3), `sandwich` x + n(f(n(x))) with two norms (Ding et al., 2021, §2.4)."""
    attention_norm: Norm | None = slot(inherit=True)
    """The norm, or norms, of the attention; null leaves them out."""
    cross_attention_norm: Norm | None = slot(inherit=True)
    """The norm, or norms, of the cross-attention; null leaves them out."""
    feed_forward_norm: Norm | None = slot(inherit=True)
    """The norm, or norms, of the feed-forward; null leaves them out."""
    residual: Residual = slot("plain")
    """How what a sublayer computes joins the stream."""
    residual_from: Literal["stream", "normed"] = "stream"
    """What it joins: the `stream` x, or, where the norm stands before the sublayer, the `normed` n(x), as in
    n(x) + f(n(x)) (Megatron-LM's `apply_residual_connection_post_layernorm`, an option of BLOOM and Falcon)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each sublayer's output dropped while training, before it joins the stream."""

    @rule("attention", "cross_attention", "feed_forward")
    def _does_something(*sublayers: Attention | FeedForward | None) -> Faults:
        if all(part is None for part in sublayers):
            return Fault("a block with neither attention nor feed_forward does nothing", fix="keep one of them")
        return None

    @rule("placement", "attention_norm", "feed_forward_norm", "cross_attention", "cross_attention_norm")
    def _places_a_norm(placement: str, *said: Norm | Attention | None) -> Faults:
        norms = said[:2] if said[2] is None else (*said[:2], said[3])
        if placement != "pre" and all(norm is None for norm in norms):
            every = "both" if len(norms) == 2 else "all"
            return Fault(f"`placement: {placement}` places no norm, as {every} are null", fix="leave `placement` out")
        return None

    @rule("residual_from", "placement")
    def _joins_what_there_is(residual_from: str, placement: str) -> Faults:
        if residual_from == "normed" and not PLACEMENTS[placement].before:
            return Fault(
                f"with `placement: {placement}` no norm stands before a sublayer, for its output to join the normed",
                fix="say `placement: pre` or `sandwich`, or leave `residual_from` out",
            )
        return None

    @rule(
        "residual_from",
        *("attention", "attention_norm"),
        *("cross_attention", "cross_attention_norm"),
        *("feed_forward", "feed_forward_norm"),
    )
    def _joins_something_normed(residual_from: str, *said: Attention | FeedForward | Norm | None) -> Faults:
        pairs = (said[:2], said[2:4], said[4:])
        normed = [part for part, norm in pairs if part is not None and norm is not None]
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
        return tuple(name for name in SUBLAYERS if getattr(self, name) is not None)

    def default(self, name: str, inherited: Mapping[str, Section] = MappingProxyType({})) -> Any:
        """What a field holds where nothing is said; the norm of a cross-attention that is not there may be null."""
        if name == "cross_attention_norm" and self.cross_attention is None and self.cross_attention_norm is None:
            return None
        return super().default(name, inherited)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """Each sublayer with its norms and its residual; a site's last step is the name of the module."""
        for name in self.sublayers:
            inside = at.child(name)
            yield name, getattr(self, name), replace(inside, across=True) if name == "cross_attention" else inside
            norm = getattr(self, f"{name}_norm")
            for ending in PLACEMENTS[self.placement].names if norm is not None else ():
                yield f"{name}_norm", norm, at.child(f"{name}_{ending}")
            yield "residual", self.residual, at.child(f"{name}_residual")

    def filled(self, at: Site) -> Self:
        """The norm of a sublayer that is not there is null."""
        absent = set(SUBLAYERS) - set(self.sublayers)
        return super().filled(at).model_copy(update={f"{name}_norm": None for name in absent})

    def check(self, at: Site) -> Faults:
        """Only what has a memory can be read, by an attention that can read one."""
        if self.cross_attention is None:
            return None
        if at.memory is None:
            return Fault(
                "there is no memory here to see: only the decoder of an `encoder_decoder` has one",
                "cross_attention",
                "remove `cross_attention`, or say it under `decoder`",
            )
        if "memory" not in self.cross_attention.traits:
            told = f"attention `{self.cross_attention.spec_name}` cannot read a memory"
            return Fault(told, "cross_attention", "say `cross_attention: {type: multi_head, heads: …}`")
        return None

    def build(self, at: Site) -> SequentialBlock:
        """The module."""
        from blueprint_registry.block.sequential_nn import SequentialBlock

        return SequentialBlock(self, at)
