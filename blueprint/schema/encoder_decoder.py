"""The encoder-decoder: what both sides have in common, what each says differently, and the memory between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from blueprint.component import Component, Fault, Section, Site, register, slot
from blueprint.kinds import Block, Embedding, Head, Init, Norm
from blueprint.schema.crossing import CROSS, sparse
from blueprint.schema.embedded import layer_faults, model_site, named_blocks, part_site
from blueprint.schema.faults import part_faults
from blueprint.schema.layers import LAYERED, Depth, LayerCount, Width, laid
from blueprint.schema.model import Model, outside_layers
from blueprint.schema.parting import parted
from blueprint.schema.sides import SIDES, SLOTS, DecoderSide, EncoderSide, Side, prepared
from blueprint.section import WHOLE
from blueprint.tree import Map, Source, Span, from_plain, plain
from blueprint.unknown import UNKNOWN

#: Where what Python says stands.
_PYTHON = Span(Source("python"))


def _side() -> Any:
    """A field that holds a side: what nothing is said of is all common."""
    return Field(default_factory=dict, validate_default=True)


@register("encoder_decoder")
class EncoderDecoder(Model, Width):
    """An encoder reads a source, a decoder writes a target and looks at what the encoder made of it (Vaswani et al.,
    2017, §3.1; Sutskever et al., 2014)."""

    traits: ClassVar[frozenset[str]] = frozenset({"encodes", "generates"})
    underlay: ClassVar[dict[str, str]] = {"blocks": "block", "overrides": "block", "encoder": WHOLE, "decoder": WHOLE}
    objective: ClassVar[str | None] = "seq2seq"
    #: Fields that only say what both sides have in common, and are empty once it is written out for each.
    common: ClassVar[frozenset[str]] = frozenset(EncoderSide.model_fields) - {"norm"}
    alongside: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "input_ids": ("attention_mask", "token_type_ids", "position_ids"),
            "decoder_input_ids": ("decoder_attention_mask",),
        }
    )

    layers: LayerCount | None = None
    """Number of layers of each side; a side may say its own."""
    max_length: PositiveInt | None = None
    """Longest sequence, in tokens, that each side is made for; needed by learned positions."""
    norm: Norm = slot("rms")
    """The norm that every norm of the model inherits and may change."""
    block: Block | None = slot("sequential")
    """The common layer of both sides; what `blocks` and `overrides` are merged over. The decoder's reads the encoder's
    memory after its attention, as the attention does unless `cross_attention` says otherwise."""
    blocks: dict[str, Block] = {}
    """Named variants, each merged over `block`."""
    pattern: list[str] = []
    """Names of variants (or `block`), repeated over the depth of each side."""
    overrides: dict[str, Block] = {}
    """Changes to single layers of both sides by index, merged over what the pattern gives."""
    share: list[int] | None = None
    """Groups of layers, in each side, that use the same weights, one number a layer: `[0, 0, 1, 1]`."""
    final_norm: Norm | None = slot(inherit=True)
    """The norm after the last layer of each side; null for none."""
    embedding: Embedding | None = slot("tokens")
    """Ids to vectors, on both sides."""
    embeddings: Literal["shared", "separate"] = "shared"
    """Whether both sides look their tokens up in one table, or each in one of its own."""
    encoder: EncoderSide = _side()
    """What differs in the encoder; merged over all the above."""
    decoder: DecoderSide = _side()
    """What differs in the decoder; merged over all the above."""
    vocab_size: Annotated[int, Field(ge=2)] | None = None
    """Number of tokens the model knows; taken from the tokenizer where there is one."""
    head: Head = slot("language_model")
    """The decoder's vectors to the output; tied, it reads the decoder's table."""
    init: Init = slot("normal")
    """Initial weights."""

    @classmethod
    def prepare(cls, node: Map) -> Map:
        """The differences of each side merged over what is common, on the tree; each side is whole then."""
        return prepared(node)

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        if not all(isinstance(values.get(side), Section) for side in SIDES):
            node = from_plain({key: _said(value) for key, value in values.items()}, _PYTHON)
            assert isinstance(node, Map)
            node = cls.prepare(node)
            values = {**values, **{side: plain(node.entries[side].value) for side in SIDES}}
        own = {key: value for key, value in values.items() if key not in cls.common}
        return {**own, **dict.fromkeys(SLOTS)}

    def to_plain(self, *, defaults: bool = True, inherited: Mapping[str, Section] | None = None) -> dict[str, Any]:
        """As a person writes it: what both sides say alike once, and of each side only what differs."""
        said = super().to_plain(defaults=defaults, inherited=inherited)
        sides: dict[str, dict[str, Any]] = {}
        for name in SIDES:
            side: EncoderSide | DecoderSide = getattr(self, name)
            sides[name] = own = said.pop(name)
            own.pop("norm", None)
            if side.norm != self.norm:
                own["norm"] = side.norm.to_plain()
        for block, own, under in () if defaults else _blocks(self.decoder, sides["decoder"]):
            sparse(block, own, under)
        return self._parted(said, sides)

    def laid(self, layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The model as plain values without defaults, with other words for the layers of its sides."""
        said = super().to_plain(defaults=False)
        sides = {}
        for name, side in self.stacks().items():
            own = laid(said.pop(name), layers[name])
            own.pop("norm", None)
            sides[name] = own | ({"norm": side.norm.to_plain()} if side.norm != self.norm else {})
        return self._parted(said, sides)

    def _parted(self, said: dict[str, Any], sides: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """What both sides say alike once, in the order of the fields."""
        both, *differ = parted(sides["encoder"], sides["decoder"])
        parts = {**said, **both, **{name: each for name, each in zip(SIDES, differ, strict=True) if each}}
        order = ["type", *(info.alias or name for name, info in type(self).model_fields.items())]
        return {key: parts[key] for key in order if key in parts and (key in both or key not in self.common)}

    @property
    def longest(self) -> int | None:
        """The longest sequence, in tokens, that both sides are made for."""
        known = [side.max_length for side in (self.encoder, self.decoder) if side.max_length is not None]
        return min(known, default=None)

    def stacks(self) -> Mapping[str, Side]:
        """Both sides."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def site(self) -> Site:
        """The site of the whole model, which is that of what it writes."""
        return model_site(self.d_model, self.decoder.layers, self.longest, self.vocab_size, "decoder", True)

    def inputs(self) -> dict[str, tuple[int, ...] | None]:
        """The source's ids and the target's."""
        return {"input_ids": None, "decoder_input_ids": None}

    def sides(self, site: Site) -> dict[str, Site]:
        """Where each side stands: the decoder beside the encoder's memory."""
        return {name: _side_site(site, name, side.layers, side.max_length) for name, side in self.stacks().items()}

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts outside the layers, those of a side under its name."""
        for side, inside in self.sides(at).items():
            for name in ("embedding", "final_norm"):
                part = getattr(getattr(self, side), name)
                if part is not None:
                    yield f"{side}.{name}", part, inside.child(name)
        yield "head", self.head, part_site("head", at, self.decoder.embedding)
        yield "init", self.init, at.child("init")

    def with_parts(self, parts: Mapping[str, Component]) -> Self:
        """The model with other parts under the names that `parts(at)` gives them."""
        sides: dict[str, dict[str, Any]] = {
            side: {name.removeprefix(f"{side}."): part for name, part in parts.items() if name.startswith(f"{side}.")}
            for side in SIDES
        }
        return self._with_sides(sides, {name: part for name, part in parts.items() if "." not in name})

    def with_numbers(self, change: Callable[[str, Any], Any]) -> Self:
        """The model with `change(key, value)` in place of the numbers that bound what it and each side take."""
        own = {key: change(key, getattr(self, key)) for key in ("d_model", "vocab_size")}
        lengths = {name: {"max_length": change("max_length", side.max_length)} for name, side in self.stacks().items()}
        return self._with_sides(lengths, own)

    def with_layers(self, layers: Mapping[str, int]) -> Self:
        """The model with sides of other depths."""
        return self._with_sides({side: {"layers": count} for side, count in layers.items()})

    def _with_sides(self, changes: Mapping[str, dict[str, Any]], own: Mapping[str, Any] = MappingProxyType({})) -> Self:
        sides = self.stacks()
        return self.model_copy(
            update={**own, **{name: sides[name].model_copy(update=each) for name, each in changes.items()}}
        )

    def to_outside(self, plain: dict[str, Any]) -> dict[str, Any]:
        """What tells of the model in its plain values, without that which its written-out layers tell."""
        skip = LAYERED | self.common
        return {
            key: outside_layers(value) if key in SIDES else value for key, value in plain.items() if key not in skip
        }

    @classmethod
    def site_faults(cls, values: dict[str, Any]) -> Iterator[Fault]:
        """What is wrong with parts where they stand, as far as what is known allows; for the reader."""
        numbers = {name: values.get(name, UNKNOWN) for name in ("d_model", "vocab_size")}
        at = model_site(layers=UNKNOWN, max_length=UNKNOWN, side="decoder", causal=True, **numbers)
        sides = {side: vars(values[side]) if isinstance(values.get(side), Section) else {} for side in SIDES}
        for side, known in sides.items():
            inside = _side_site(at, side, known.get("layers", UNKNOWN), known.get("max_length", UNKNOWN))
            found: list[Fault] = []
            for name in ("embedding", "final_norm"):
                if known.get(name) is not None:
                    found += part_faults(known[name], inside.child(name), name)
            for fault in (*found, *layer_faults(known, inside)):
                yield replace(fault, at=f"{side}.{fault.at}")
        embeddings = [known.get("embedding", UNKNOWN) for known in sides.values()]
        for name in ("head", "init"):
            if values.get(name) is not None:
                yield from part_faults(values[name], part_site(name, at, embeddings[-1]), name)
        yield from _one_memory(sides["decoder"])
        if values.get("embeddings") == "shared":
            widths = [part.table_width(at) for part in embeddings]
            if None in widths or widths[0] != widths[1]:
                encoder, decoder = ("none" if width is None else f"one of width {width}" for width in widths)
                told = f"both sides cannot share one table: the encoder has {encoder}, the decoder {decoder}"
                yield Fault(told, "embeddings", "say `embeddings: separate`")

    def build(self, at: Site) -> Any:
        """Modules are built from the plan, which has the layers written out."""
        from blueprint.model.encoder_decoder import EncoderDecoderModel

        return EncoderDecoderModel


def _side_site(at: Site, side: str, layers: int, max_length: int | None) -> Site:
    decodes = side == "decoder"
    memory = at.d_model if decodes else None
    return at.child(side, side=side, causal=decodes, layers=layers, max_length=max_length, memory=memory)


def _one_memory(decoder: Mapping[str, Any]) -> Iterator[Fault]:
    """A decoder of which no layer reads the memory leaves the encoder without use."""
    if not {"block", "blocks", "overrides"} <= decoder.keys():
        return
    named, used = named_blocks(decoder)
    if any(name not in named for name in used):
        return
    blocks = [named[name] for name in (used or named) if named.get(name) is not None]
    if any(block is UNKNOWN or (CROSS not in vars(block) and CROSS in type(block).model_fields) for block in blocks):
        return
    if not any(vars(block).get(CROSS) is not None for block in blocks):
        able = any(CROSS in type(block).model_fields for block in blocks)
        why = "" if able else f": a `{blocks[0].spec_name}` block has no `{CROSS}`" if blocks else ""
        yield Fault(
            f"no layer of the decoder reads what the encoder makes{why}",
            "decoder",
            f"leave `{CROSS}` to a layer at least"
            if able
            else "take a `sequential` block, or a model of type `decoder`",
        )


def _blocks(side: Depth, said: dict[str, Any]) -> Iterator[tuple[Block, dict[str, Any], Block | None]]:
    """Every block of a side beside what it says of itself, and the block that it is merged over."""
    pairs: list[tuple[Block | None, Any, Block | None]] = [(side.block, said.get("block"), None)]
    for name in ("blocks", "overrides"):
        for key, block in getattr(side, name).items():
            pairs.append((block, said.get(name, {}).get(key), side.under(name, key)))
    yield from ((block, own, under) for block, own, under in pairs if block is not None and isinstance(own, dict))


def _said(value: Any) -> Any:
    """A value made in Python as a spec says it."""
    if isinstance(value, Section):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {key: _said(item) for key, item in value.items()}
    return [_said(item) for item in value] if isinstance(value, list | tuple) else value
