"""The model section: the types of network, each a stack of layers between an embedding and a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import PositiveInt

from blueprint.component import Component, Fault, Site, register, slot
from blueprint.kinds import Embedding, Head, Init
from blueprint.schema.faults import known_at, part_faults
from blueprint.schema.layers import COMMON, Depth, Stack, layer_site, variants
from blueprint.unknown import UNKNOWN, NotKnown


class Model(Component, kind="model"):
    """The kind of network. Object: a `torch.nn.Module` whose forward is the public face's.

    `stacks()` says which stacks of layers it has; the plan writes each out. The trait `generates` says that it can
    continue a sequence token by token, `encodes` that it reads a source beside the target it writes.
    """

    #: The objective of a spec that says none: what such a model is usually trained by, or None.
    objective: ClassVar[str | None] = None
    #: Fields that only say what several stacks have in common, and are empty once it is written out for each.
    common: ClassVar[frozenset[str]] = frozenset()

    @property
    def pooled(self) -> bool:
        """Whether the output is one for a whole sequence, rather than one for every token."""
        return "pooled" in getattr(getattr(self, "head", None), "traits", ())

    @property
    def generates(self) -> bool:
        """Whether the model can continue a sequence token by token."""
        return "generates" in self.traits and not self.pooled

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

    def sites(self, at: Site) -> dict[str, Site]:
        """Where every stack stands, by side, in a model at `at`."""
        return dict.fromkeys(self.stacks(), at)

    def with_parts(self, parts: Mapping[str, Any]) -> Self:
        """The model with other parts under the names that `parts(at)` gives them."""
        return self.model_copy(update=dict(parts))

    def shrunk(self, at: Site, depths: Mapping[str, int]) -> Self:
        """The model at a small site, with as many layers in each stack."""
        small = {name: part.miniature(site) for name, part, site in self.parts(at)}
        sizes = {"d_model": at.d_model, "vocab_size": at.vocab_size, "max_length": at.max_length}
        if len(depths) == 1:
            (sizes["layers"],) = depths.values()
        return self.with_parts({**small, **{k: v for k, v in sizes.items() if k in type(self).model_fields}})


class OneStack(Model, Stack):
    """A model of one stack between an embedding and a head: what decoders and encoders have in common."""

    side: ClassVar[str]

    vocab_size: PositiveInt | None = None
    """Number of tokens the model knows; taken from the tokenizer where there is one."""
    embedding: Embedding = slot("tokens")
    """Ids to vectors."""
    head: Head = slot("language_model")
    """Vectors to the output."""
    init: Init = slot("normal")
    """Initial weights."""

    def stacks(self) -> Mapping[str, Depth]:
        """The one stack, by its side."""
        return {self.side: self}

    def site(self) -> Site:
        """The site of the whole model."""
        return model_site(self.d_model, self.layers, self.max_length, self.vocab_size, self.side, self.causal)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts outside the layers."""
        for name in ("embedding", "final_norm", "head", "init"):
            part = getattr(self, name)
            if part is not None:
                yield name, part, part_site(name, at, self.embedding)

    @classmethod
    def site_faults(cls, values: dict[str, Any]) -> Iterator[Fault]:
        """What is wrong with parts where they stand, as far as what is known allows; for the reader."""
        numbers = ("d_model", "layers", "max_length", "vocab_size")
        known = {name: values.get(name, UNKNOWN) for name in numbers}
        at = model_site(**known, side=cls.side, causal=values.get("causal", UNKNOWN))
        for name in ("embedding", "final_norm", "head", "init"):
            if values.get(name) is not None:
                yield from part_faults(values[name], part_site(name, at, values.get("embedding", UNKNOWN)), name)
        yield from layer_faults(values, at)


def layer_faults(values: Mapping[str, Any], at: Site) -> Iterator[Fault]:
    """What is wrong with a stack's layers where they stand; `values` is what is known of the stack by field."""
    pattern, overrides = values.get("pattern", []), values.get("overrides", {})
    layers = values.get("layers")
    names = variants(layers, pattern, overrides) if layers is not None else []
    blocks: dict[str, Any] = {COMMON: values.get("block")}
    blocks |= {f"blocks.{k}": v for k, v in values.get("blocks", {}).items()}
    blocks |= {f"overrides.{k}": v for k, v in overrides.items()}
    for name, block in blocks.items():
        # A block is judged at the first layer that uses it; one that no layer uses has its own fault.
        index = names.index(name) if name in names else 0
        if block is not None and (name in names or name == COMMON or not names):
            yield from part_faults(block, layer_site(at, values.get("layers", UNKNOWN), index), name)
    yield from _positions_twice(values.get("embedding"), blocks, names or list(blocks))


def _positions_twice(embedding: Any, blocks: dict[str, Any], names: list[str]) -> Iterator[Fault]:
    """Absolute positions in the embedding beside positions in an attention: two answers to one question."""
    table = known_at(embedding, "positions")
    if table is None:
        return
    for name in (name for name in blocks if name in names):
        position = known_at(blocks.get(name), "attention", "position")
        if position is not None and "positional" in position.traits:
            yield Fault(
                f"`{position.spec_name}` positions in the attention stand beside `{table.spec_name}` positions "
                "in the embedding: a token's place would be told twice",
                f"{name}.attention.position",
                "say `position: none` here, or `positions: null` in the embedding",
            )


@register("decoder")
class Decoder(OneStack):
    """A decoder: tokens in, a distribution over the next one out (Radford et al., 2018; Vaswani et al., 2017, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"generates"})
    side: ClassVar[str] = "decoder"
    objective: ClassVar[str | None] = "causal"

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


def part_site(name: str, at: Site, embedding: Any) -> Site:
    """The site of a part outside the layers; a head is told how wide the table is that it may tie to."""
    if name != "head":
        return at.child(name)
    try:
        return at.child(name, table=embedding.table_width(at))
    except NotKnown:
        return at.child(name, table=UNKNOWN)


def model_site(
    d_model: int, layers: int, max_length: int | None, vocab_size: int | None, side: str, causal: bool
) -> Site:
    """The site a model's parts are built at."""
    return Site(
        d_model=d_model,
        width=d_model,
        max_length=max_length,
        vocab_size=vocab_size,
        layers=layers,
        side=side,
        causal=causal,
    )
