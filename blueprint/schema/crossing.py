"""Cross-attention in the language: what is not said of how a block reads the memory is what its attention says."""

from __future__ import annotations

from typing import Any

from blueprint.component import Component, Section, slot_kinds
from blueprint.diagnosis import nearest
from blueprint.kinds import Attention
from blueprint.schema.merge import merge
from blueprint.schema.placing import as_map
from blueprint.schema.shape import Shape, fields
from blueprint.tree import Entry, Map, Node, Scalar

#: The field of a block that reads the memory, and the one it follows.
CROSS, OWN = "cross_attention", "attention"


def crossed(node: Node, shape: Shape, reads: bool = True) -> Node:
    """A block's node with its cross-attention written out, where the block has one and it is not null; in a stack that
    `reads` no memory, only one that is said, to be judged.
    """
    block = shape.member_of(node)
    inner = fields(block).get(CROSS) if block is not None else None
    if block is None or inner is None or not isinstance(node, Map):
        return node
    said, own = node.get(CROSS), node.get(OWN)
    if said is None and any(key not in fields(block) and nearest(key, fields(block)) == CROSS for key in node.entries):
        return node  # misspelt, which validation says
    if (said is None and not reads) or (isinstance(said, Scalar) and said.value is None):
        return node
    whole: Node | None = _of(own, fields(block)[OWN])
    if whole is None and said is None:
        return node
    whole = said if whole is None else whole if said is None else merge(whole, said, inner)
    assert whole is not None
    alone = said is not None and (
        not reads or OWN not in node.entries or not isinstance(said, Map) or "type" in said.entries
    )
    # What both attentions say is said where the first says it.
    span = node.entries[CROSS if alone else OWN].span
    return node.with_entry(Entry(CROSS, span, _filled(whole, inner)))


def _of(own: Node | None, shape: Shape) -> Map | None:
    """What an attention says that holds for reading a memory too."""
    kind = shape.member_of(own)
    if kind is None or not issubclass(kind, Attention) or (isinstance(own, Scalar) and own.value is None):
        return None
    if not isinstance(own, Map | Scalar):
        return None
    return as_map(own, kind.spec_name, own.span).without(*kind.across)


def _filled(node: Node, shape: Shape) -> Node:
    """The node with what stands, across, where nothing is said."""
    kind = shape.member_of(node)
    if kind is None or not issubclass(kind, Attention) or not isinstance(node, Map | Scalar):
        return node
    if isinstance(node, Scalar) and not isinstance(node.value, str):
        return node
    whole = as_map(node if isinstance(node, Map) else None, kind.spec_name, node.span)
    for key, value in kind.across.items():
        if value is not None and key not in whole.entries:
            whole = whole.with_entry(Entry(key, node.span, Scalar(value, node.span)))
    return whole


def sparse(block: Section, said: dict[str, Any], under: Section | None) -> None:
    """Rewrite what a block that reads a memory says of itself, in place, so that it is read back as it is; `under` is
    the block that it is merged over.
    """
    if CROSS not in type(block).model_fields:
        return
    across, own = getattr(block, CROSS), getattr(block, OWN, None)
    below = under is not None and CROSS in type(under).model_fields
    base, beside = (getattr(under, CROSS), getattr(under, OWN, None)) if below else (None, None)
    said.pop(CROSS, None)
    if across is None:
        if own is not None and (base is not None or beside is None):
            said[CROSS] = None
    elif below:
        if across != _unsaid(own) or base != _unsaid(beside):
            said[CROSS] = across.to_plain()
    else:
        whole, unsaid = across.to_plain(), _unsaid(own)
        alike = {} if unsaid is None or type(unsaid) is not type(across) else unsaid.to_plain()
        if differs := {key: value for key, value in whole.items() if key not in alike or alike[key] != value}:
            said[CROSS] = differs


def _unsaid(own: Any) -> Component | None:
    """The cross-attention of a block that says nothing of it beside the attention `own`."""
    if not isinstance(own, Attention):
        return None
    update: dict[str, Any] = {}
    for name, value in own.across.items():
        kinds = slot_kinds(type(own).model_fields[name].annotation)
        update[name] = own.default(name) if value is None else kinds[0].of(value)
    return own.model_copy(update=update)
