"""The two sides of an encoder-decoder, each made whole: what it says merged over what both have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

from blueprint.component import Fault, Faults, rule, slot
from blueprint.kinds import Embedding
from blueprint.schema.layers import Depth, Sized
from blueprint.schema.merge import merge
from blueprint.schema.shape import Shape
from blueprint.tree import Entry, Map, Node, Scalar, Seq

#: What is common and stands by default: empty once it is written out for each side.
SLOTS = ("block", "final_norm", "embedding")
_PLAIN = ("layers", "max_length", "pattern", "share")


class Side(Depth, Sized):
    """Layers that are one of two stacks."""

    @classmethod
    def prepare(cls, node: Map) -> Map:
        """Nothing: the model has merged and written out both sides by now."""
        return node

    @classmethod
    def written_out(cls, node: Map) -> Map:
        """The layer language on the tree, as a stack that stands alone prepares it."""
        return super().prepare(node)


def _ids_fault(embedding: Embedding) -> Faults:
    if embedding.takes == "input_ids":
        return None
    return Fault(f"both sides take ids; embedding `{embedding.spec_name}` takes {embedding.takes}", "embedding")


class EncoderSide(Side):
    """The side that reads the source: every token sees those on both its sides."""

    embedding: Embedding = slot("tokens")
    """The source's ids to vectors."""

    @rule("embedding")
    def _takes_ids(embedding: Embedding) -> Faults:
        return _ids_fault(embedding)


class DecoderSide(Side):
    """The side that writes: a token sees itself, earlier ones, and the memory that the encoder made of the source."""

    reads: ClassVar[bool] = True

    embedding: Embedding = slot("tokens")
    """The target's ids to vectors."""

    @rule("embedding")
    def _takes_ids(embedding: Embedding) -> Faults:
        return _ids_fault(embedding)


SIDES: Mapping[str, type[EncoderSide] | type[DecoderSide]] = MappingProxyType(
    {"encoder": EncoderSide, "decoder": DecoderSide}
)


def prepared(node: Map) -> Map:
    """A model with the differences of each side merged over what is common, on the tree; each side is whole then."""
    said = {side: node.get(side) or Map({}, node.span) for side in SIDES}
    shared = Map({key: entry for key, entry in node.entries.items() if key in EncoderSide.model_fields}, node.span)
    used = {side: _names(each, shared) for side, each in said.items()}
    for side, part in SIDES.items():
        own = said[side]
        if isinstance(own, Map):
            others = {name for names in used.values() for name in names} - used[side]
            whole = merge(_without(shared, others), own, Shape("section", part, part))
            assert isinstance(whole, Map)
            whole, entry = part.written_out(whole), node.entries.get(side)
            node = node.with_entry(Entry(side, node.span, whole) if entry is None else replace(entry, value=whole))
    # A plain value stays where both sides say their own, so that it is judged all the same.
    judged = {key for key in _PLAIN if all(isinstance(each, Map) and key in each.entries for each in said.values())}
    node = node.without("blocks", "overrides", *(set(_PLAIN) - judged))
    for key in SLOTS:
        node = node.with_entry(Entry(key, node.span, Scalar(None, node.span)))
    return node


def _names(side: Node, shared: Map) -> frozenset[str]:
    """The variants that a side's pattern names."""
    own = side.get("pattern") if isinstance(side, Map) else None
    said = own if own is not None else shared.get("pattern")
    items = said.items if isinstance(said, Seq) else ()
    return frozenset(str(item.value) for item in items if isinstance(item, Scalar))


def _without(node: Map, names: set[str]) -> Map:
    """What is common, without the variants that only the other side's pattern names."""
    entry = node.entries.get("blocks")
    if entry is None or not isinstance(entry.value, Map):
        return node
    return node.with_entry(replace(entry, value=entry.value.without(*names)))
