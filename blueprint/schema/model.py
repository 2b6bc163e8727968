"""The model section: the types of network, each a stack of layers between an embedding and a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Embedding, Head, Init
from blueprint.schema.embedded import Embedded, Worded
from blueprint.schema.layers import LAYERED, Depth, laid

#: What a head may tell in place of tokens, by its trait and in words.
TOLD = {"pooled": "an output for a whole sequence", "tags": "the class of every token"}
#: Numbers of a stack that a small model has smaller.
BOUNDS = ("d_model", "vocab_size", "max_length")


class Model(Component, kind="model"):
    """The kind of network. Object: a `torch.nn.Module` whose forward is the public face's.

    `stacks()` says which stacks of layers it has; the plan writes each out. The trait `generates` says that it can
    continue a sequence token by token, `encodes` that it reads a source beside the target it writes.
    """

    formulas: ClassVar[bool] = False
    #: The objective of a spec that says none: what such a model is usually trained by, or None.
    objective: ClassVar[str | None] = None
    #: Where a spec says how many ids the model knows, below `model`.
    vocabulary_at: ClassVar[str] = "vocab_size"
    #: What of the public face may stand beside an input, by the input's name.
    alongside: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"input_ids": ("attention_mask", "token_type_ids", "position_ids", "segment_ids")}
    )

    @property
    def pooled(self) -> bool:
        """Whether the output is one for a whole sequence, rather than one for every token."""
        return self.tells == "pooled"

    @property
    def tells(self) -> str | None:
        """What the output is, where it is no token's next or own: `pooled`, one for a whole sequence, or `tags`, the
        class of every token."""
        return told_by(getattr(getattr(self, "head", None), "traits", frozenset()))

    @property
    def generates(self) -> bool:
        """Whether the model can continue a sequence token by token."""
        return "generates" in self.traits and self.tells is None

    @property
    def longest(self) -> int | None:
        """The longest sequence, in tokens, that every stack is made for."""
        longest: int | None = getattr(self, "max_length", None)
        return longest

    def stacks(self) -> Mapping[str, Depth]:
        """The stacks of layers by side."""
        raise TypeError(f"model `{self.spec_name}` has no stacks")

    def site(self) -> Site:
        """Where the model's own parts stand."""
        raise TypeError(f"model `{self.spec_name}` has no site")

    @property
    def reads_ids(self) -> bool:
        """Whether anything that goes in is ids, so that there is a vocabulary."""
        return "input_ids" in self.inputs()

    def inputs(self) -> dict[str, tuple[int, ...] | None]:
        """What the forward is given, by name: the shape of one, the batch aside, or None for ids (B, T)."""
        return {"input_ids": None}

    def laid(self, layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The model as plain values without defaults, with other words for the layers of its stacks, by side."""
        said = self.to_plain(defaults=False)
        for side, own in layers.items():
            if side in type(self).model_fields:
                said[side] = laid(said[side], own)
            else:
                said = laid(said, own)
        return said

    def sides(self, site: Site) -> dict[str, Site]:
        """The sites of the stacks, where `site` is the model's."""
        return dict.fromkeys(self.stacks(), site)

    def with_parts(self, parts: Mapping[str, Component]) -> Self:
        """The model with other parts outside the layers, by the names that `parts(at)` gives them."""
        return self.model_copy(update=dict(parts))

    def with_numbers(self, change: Callable[[str, Any], Any]) -> Self:
        """The model with `change(key, value)` in place of the numbers of its stacks that bound what they take."""
        fields = type(self).model_fields
        return self.model_copy(update={key: change(key, getattr(self, key)) for key in BOUNDS if key in fields})

    def with_vocabulary(self, size: int | None) -> Self:
        """The model with so many ids known to it."""
        return self.model_copy(update={"vocab_size": size} if "vocab_size" in type(self).model_fields else {})

    def with_layers(self, layers: Mapping[str, int]) -> Self:
        """The model with other numbers of layers, by side."""
        (count,) = layers.values()
        return self.model_copy(update={"layers": count})

    def to_outside(self, plain: dict[str, Any]) -> dict[str, Any]:
        """What tells of the model in its plain values, without that which its written-out layers tell."""
        return outside_layers(plain)


class OneStack(Embedded, Worded, Model):
    """A model of one stack between an embedding and a head: what decoders and encoders have in common."""

    outside: ClassVar[tuple[str, ...]] = ("embedding", "final_norm", "head", "init")

    head: Head = slot("language_model")
    """Vectors to the output."""
    init: Init = slot("normal")
    """Initial weights."""

    def site(self) -> Site:
        """The site of the stack, which tells how many classes the head tells apart, where it does."""
        at = super().site()
        try:
            classes = self.head.evaluated(at).classes
        except ArithmeticFault:
            return at  # told where it is said
        return at if classes is None else replace(at, extra={"classes": classes})

    def stacks(self) -> Mapping[str, Depth]:
        """The one stack, by its side."""
        return {self.side: self}

    def inputs(self) -> dict[str, tuple[int, ...] | None]:
        """What the embedding takes."""
        return {self.embedding.takes: self.embedding.input_shape}

    @rule("head", "embedding")
    def _head_of_ids(head: Head, embedding: Embedding) -> Faults:
        if "vocabulary" in head.traits and embedding.takes != "input_ids":
            what = f"embedding `{embedding.spec_name}` takes {embedding.takes}, of which there is no vocabulary"
            return Fault(f"head `{head.spec_name}` gives logits over a vocabulary; {what}", "head", "say another head")
        return None


@register("decoder")
class Decoder(OneStack):
    """A decoder: tokens in, a distribution over the next one out (Radford et al., 2018; Vaswani et al., 2017, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"generates"})
    side: ClassVar[str] = "decoder"
    objective: ClassVar[str | None] = "causal"

    @rule("embedding")
    def _continues_ids(embedding: Embedding) -> Faults:
        if embedding.takes != "input_ids":
            return f"a decoder continues ids; embedding `{embedding.spec_name}` takes {embedding.takes}"
        return None

    def build(self, at: Site) -> Any:
        """Modules are built from the plan, which has the layers written out."""
        from blueprint.model.decoder import DecoderModel

        return DecoderModel


@register("encoder")
class Encoder(OneStack):
    """An encoder: every token sees those on both its sides (Devlin et al., 2019, §3; Vaswani et al., 2017, §3.1)."""

    side: ClassVar[str] = "encoder"

    causal: bool = False
    """Whether a token sees only itself and earlier ones."""

    def build(self, at: Site) -> Any:
        """Modules are built from the plan, which has the layers written out."""
        from blueprint.model.encoder import EncoderModel

        return EncoderModel


def told_by(traits: frozenset[str]) -> str | None:
    """What a head of these traits, or the head that an objective of them reads, tells in place of tokens."""
    return next((each for each in TOLD if each in traits), None)


def outside_layers(plain: dict[str, Any]) -> dict[str, Any]:
    """The plain values of a stack without those that the layers, written out, tell."""
    return {key: value for key, value in plain.items() if key not in LAYERED}
