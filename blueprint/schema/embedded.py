"""A stack with its embedding: what models of one stack and the towers of a dual encoder have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component, Fault, Faults, Site, rule, slot
from blueprint.kinds import Embedding
from blueprint.schema.faults import known_at, part_faults
from blueprint.schema.layers import COMMON, Sized, Stack, layer_site, variants
from blueprint.unknown import UNKNOWN, NotKnown


class Worded(Stack, Sized):
    """A stack that may read ids: of a vocabulary, in sequences of any length."""

    vocab_size: Annotated[int, Field(ge=2)] | None = None
    """Number of tokens the model knows; taken from the tokenizer where there is one."""

    @rule("vocab_size", "embedding")
    def _vocabulary_of_ids(vocab_size: int | None, embedding: Embedding) -> Faults:
        if vocab_size is not None and embedding.takes != "input_ids":
            what = f"embedding `{embedding.spec_name}` takes {embedding.takes}, of which there is no vocabulary"
            return Fault(f"`vocab_size` does nothing: {what}", "vocab_size", "remove `vocab_size`")
        return None

    @rule("max_length", "embedding")
    def _length_of_ids(max_length: int | None, embedding: Embedding) -> Faults:
        if max_length is not None and embedding.takes != "input_ids":
            what = f"embedding `{embedding.spec_name}` says itself how many tokens it makes"
            return Fault(f"`max_length` does nothing: {what}", "max_length", "remove `max_length`")
        return None


class Embedded(Stack):
    """Layers and their embedding; the parts named in `outside` stand outside the layers, in order."""

    side: ClassVar[str]
    outside: ClassVar[tuple[str, ...]]

    embedding: Embedding = slot("tokens")
    """Inputs to vectors."""

    @property
    def reads_ids(self) -> bool:
        """Whether what goes in is ids, so that there is a vocabulary."""
        return self.embedding.takes == "input_ids"

    def site(self) -> Site:
        """The site of the stack and its parts."""
        length, vocabulary = getattr(self, "max_length", None), getattr(self, "vocab_size", None)
        at = model_site(self.d_model, self.layers, length, vocabulary, self.side, self.causal)
        return embedded_site(at, self.embedding)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts outside the layers."""
        for name in self.outside:
            part = getattr(self, name)
            if part is not None:
                yield name, part, part_site(name, at, self.embedding)

    @classmethod
    def site_faults(cls, values: dict[str, Any]) -> Iterator[Fault]:
        """What is wrong with parts where they stand, as far as what is known allows; for the reader."""
        numbers = ("d_model", "layers", "max_length", "vocab_size")
        known: dict[str, Any] = {
            name: values.get(name, UNKNOWN) if name in cls.model_fields else None for name in numbers
        }
        embedding = values.get("embedding", UNKNOWN)
        at = embedded_site(model_site(**known, side=cls.side, causal=values.get("causal", UNKNOWN)), embedding)
        for name in cls.outside:
            if values.get(name) is not None:
                yield from part_faults(values[name], part_site(name, at, embedding), name)
        yield from layer_faults(values, at)


def named_blocks(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The blocks of a stack by where they are said, and which of them its layers use; none where that is not known."""
    overrides, layers = values.get("overrides", {}), values.get("layers")
    blocks: dict[str, Any] = {COMMON: values.get("block")}
    blocks |= {f"blocks.{k}": v for k, v in values.get("blocks", {}).items()}
    blocks |= {f"overrides.{k}": v for k, v in overrides.items()}
    return blocks, [] if layers is None else variants(layers, values.get("pattern", []), overrides)


def layer_faults(values: Mapping[str, Any], at: Site) -> Iterator[Fault]:
    """What is wrong with a stack's layers where they stand; `values` is what is known of the stack by field."""
    blocks, names = named_blocks(values)
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


def embedded_site(at: Site, embedding: Any) -> Site:
    """The site, told by the embedding whether tokens are ids and how many there are, as far as that is known."""
    try:
        count = embedding.evaluated(at).tokens_of(at)
        length = at.max_length if count is None else count
        return replace(at, ids=embedding.takes == "input_ids", max_length=length)
    except (ArithmeticFault, NotKnown):
        return at if embedding is UNKNOWN else replace(at, ids=embedding.takes == "input_ids", max_length=UNKNOWN)
