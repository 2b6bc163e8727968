"""The language of layers that differ: a common block, variants, a pattern over the depth, overrides, shared weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Faults, Section, Site, rule, slot
from blueprint.diagnosis import nearest
from blueprint.kinds import Block, Norm
from blueprint.schema.crossing import crossed, sparse
from blueprint.schema.merge import merge
from blueprint.schema.parting import difference
from blueprint.schema.shape import Shape, fields
from blueprint.tree import Entry, Map, Node, Scalar, Seq

#: The name by which `pattern` means the common block.
COMMON = "block"


@dataclass(frozen=True)
class Layer:
    """One layer before it is filled: which variant it is, its block, its site, and the layer whose weights it uses."""

    variant: str
    block: Block
    site: Site
    weights_of: int


#: How many layers there may be: every one is written out, and more than this is a slip of the finger.
LayerCount = Annotated[int, Field(gt=0, le=10_000)]


class Width(Section):
    """The width that everything in a model shares."""

    d_model: PositiveInt
    """Width of the stream between layers."""


class Count(Section):
    """How deep a stack is."""

    layers: LayerCount
    """Number of layers."""


class Sized(Count):
    """A stack that takes sequences of any length up to one that is said."""

    max_length: PositiveInt | None = None
    """Longest sequence, in tokens, that the model is made for; needed by learned positions."""


class Depth(Count):
    """Layers and what they share, in the language of layers that differ."""

    underlay: ClassVar[dict[str, str]] = {"blocks": "block", "overrides": "block"}
    #: Whether the layers have another stack's memory to read.
    reads: ClassVar[bool] = False

    norm: Norm = slot("rms")
    """The norm that every norm of the model inherits and may change."""
    block: Block | None = slot("sequential")
    """The common layer; what `blocks` and `overrides` are merged over."""
    blocks: dict[str, Block] = {}
    """Named variants, each merged over `block`."""
    pattern: list[str] = []
    """Names of variants (or `block`), repeated over the depth."""
    overrides: dict[str, Block] = {}
    """Changes to single layers by index (`0`, `"-1"`), merged over what the pattern gives; they have the last word."""
    share: list[int] | None = None
    """Groups of layers that use the same weights, one number a layer: `[0, 0, 1, 1]`."""
    final_norm: Norm | None = slot(inherit=True)
    """The norm after the last layer; null for none."""

    @classmethod
    def prepare(cls, node: Map) -> Map:
        """The layer language on the tree: variants merged over the common block, overrides over their layer's variant.

        A common block that no layer uses by itself need not be whole: it is dropped once it has been merged.
        """
        shape = fields(cls)["block"]
        common = node.get("block")
        said = common if common is not None else Map({}, node.span)
        pattern = [item.value for item in _items(node.get("pattern")) if isinstance(item, Scalar)]
        blocks = _merged(node.get("blocks"), lambda name: said, shape)
        layers = node.get("layers")
        depth = layers.value if isinstance(layers, Scalar) and isinstance(layers.value, int) else 0

        def base(key: str) -> Node:
            index = layer_index(key, depth)
            name = pattern[index % len(pattern)] if pattern and index is not None else COMMON
            return blocks.get(str(name), said)

        for key, done in (("blocks", blocks), ("overrides", _merged(node.get("overrides"), base, shape))):
            entry = node.entries.get(key)
            if entry is not None and isinstance(entry.value, Map):
                entries = {name: replace(e, value=done[name]) for name, e in entry.value.entries.items()}
                node = node.with_entry(replace(entry, value=replace(entry.value, entries=entries)))
        if pattern and blocks and COMMON not in pattern:
            span = common.span if common is not None else node.span
            node = node.with_entry(Entry("block", span, Scalar(None, span)))
        return cls._crossed(node, shape)

    @classmethod
    def _crossed(cls, node: Map, shape: Shape) -> Map:
        """Every block's cross-attention written out."""
        if (common := node.entries.get("block")) is not None:
            node = node.with_entry(replace(common, value=crossed(common.value, shape, cls.reads)))
        for key in ("blocks", "overrides"):
            entry = node.entries.get(key)
            if entry is not None and isinstance(entry.value, Map):
                each = {k: replace(e, value=crossed(e.value, shape, cls.reads)) for k, e in entry.value.entries.items()}
                node = node.with_entry(replace(entry, value=replace(entry.value, entries=each)))
        return node

    def to_plain(self, *, defaults: bool = True, inherited: Mapping[str, Section] | None = None) -> dict[str, Any]:
        """As plain values that read back to an equal stack; without defaults, variants say what differs in them."""
        said = super().to_plain(defaults=defaults, inherited=inherited)
        for name in () if defaults else ("blocks", "overrides"):
            for key, block in getattr(self, name).items():
                under = self.under(name, key)
                if under is not None and type(under) is type(block):
                    said[name][key] = difference(block.to_plain(), under.to_plain())
        return said

    def whole_blocks(self, *, defaults: bool = True) -> dict[str, Any]:
        """Every block as plain values that stand alone, by the variant's name as layers have it."""
        said = Section.to_plain(self, defaults=defaults)
        found = {COMMON: (self.block, said.get("block", {}))}
        for group in ("blocks", "overrides"):
            found |= {f"{group}.{k}": (block, said[group][k]) for k, block in getattr(self, group).items()}
        for block, own in found.values() if self.reads and not defaults else ():
            if block is not None and isinstance(own, dict):
                sparse(block, own, None)
        return {name: own if own is not None else {} for name, (_, own) in found.items()}

    def under(self, name: str, key: str) -> Block | None:
        """The block that a variant, `blocks` or `overrides` by its key, is merged over."""
        index = layer_index(key, self.layers) if name == "overrides" else None
        found = self.pattern[index % len(self.pattern)] if index is not None and self.pattern else COMMON
        return self.blocks.get(found, self.block)

    def layer_list(self, site: Site) -> list[Layer]:
        """Every layer with its variant, block and site."""
        names = variants(self.layers, self.pattern, self.overrides)
        groups = self.share or list(range(self.layers))
        found: dict[str, Any] = {COMMON: self.block, **{f"blocks.{k}": v for k, v in self.blocks.items()}}
        found |= {f"overrides.{k}": v for k, v in self.overrides.items()}
        return [
            Layer(name, found[name], layer_site(site, self.layers, index), groups.index(groups[index]))
            for index, name in enumerate(names)
        ]

    @rule("pattern", "blocks")
    def _pattern_names_blocks(pattern: list[str], blocks: dict[str, Any]) -> Iterator[Fault]:
        known = [*blocks, COMMON]
        for index, name in enumerate(pattern):
            if name not in known:
                said = f"no block is called `{name}`; the blocks are {', '.join(known)}"
                yield Fault(said, f"pattern.{index}", suggestion=nearest(name, known))
        for name in blocks:
            # One that `pattern` misspells would only be told of twice.
            if name not in pattern and all(nearest(each, known) != name for each in pattern if each not in known):
                yield Fault(
                    f"no layer uses the block `{name}`: `pattern` does not name it",
                    f"blocks.{name}",
                    f"say `pattern: [{', '.join([*(pattern or [COMMON]), name])}]`, or remove the block",
                )

    @rule("block", "pattern")
    def _layers_have_a_block(block: Block | None, pattern: list[str]) -> Faults:
        if block is None and (not pattern or COMMON in pattern):
            return "layers need a block: null may stand here only where `pattern` names others"
        return None

    @rule("pattern", "layers")
    def _pattern_fits(pattern: list[str], layers: int) -> Faults:
        if len(pattern) > layers:
            return f"a pattern of {len(pattern)} blocks does not fit into {layers} layers"
        return None

    @rule("overrides", "layers")
    def _overrides_name_layers(overrides: dict[str, Any], layers: int) -> Iterator[Fault]:
        seen: dict[int, str] = {}
        for key in overrides:
            index = layer_index(key, layers)
            if index is None:
                yield Fault(
                    f"`{key}` names no layer: layers count from 0 to {layers - 1}, or from -1 back", f"overrides.{key}"
                )
            elif index in seen:
                yield Fault(f"layer {index} is overridden twice, as `{seen[index]}` and `{key}`", f"overrides.{key}")
            else:
                seen[index] = key

    @rule("share", "layers", "pattern", "overrides")
    def _share_fits(share: list[int] | None, layers: int, pattern: list[str], overrides: dict[str, Any]) -> Faults:
        if share is None:
            return None
        if len(share) != layers:
            return Fault(f"`share` gives {len(share)} groups for {layers} layers; give one number a layer")
        names = variants(layers, pattern, overrides)
        for index, group in enumerate(share):
            first = share.index(group)
            if names[first] != names[index]:
                return Fault(
                    f"layers {first} and {index} share weights (group {group}) but differ: "
                    f"one is `{names[first]}`, the other `{names[index]}`"
                )
        return None


class Stack(Depth, Width):
    """A model's one stack of layers; mixed into the model types."""

    causal: bool = True
    """Whether a token sees only itself and earlier ones."""


#: Fields that say what layers are: a plan has them written out.
LAYERED = frozenset({"norm", "block", "blocks", "pattern", "overrides", "share"})


def laid(said: dict[str, Any], layers: Mapping[str, Any]) -> dict[str, Any]:
    """What a stack says, as plain values, with other words for its layers, where those stood."""
    out: dict[str, Any] = {}
    for key, value in said.items():
        if key in ("block", "blocks", "pattern", "overrides"):
            out |= {name: each for name, each in layers.items() if name not in out}
        else:
            out[key] = value
    return {**out, **layers}


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Seq) else ()


def _merged(node: Node | None, base: Callable[[str], Node], shape: Shape) -> dict[str, Node]:
    """Every entry of a map of blocks, merged over its base."""
    if not isinstance(node, Map):
        return {}
    return {name: _typed(merge(base(name), entry.value, shape), shape) for name, entry in node.entries.items()}


def _typed(node: Node, shape: Shape) -> Node:
    """A variant that says its type, so that it means the same wherever it stands."""
    if not isinstance(node, Map) or "type" in node.entries:
        return node
    return replace(
        node, entries={"type": Entry("type", node.span, Scalar(shape.type_name(node), node.span)), **node.entries}
    )


def layer_index(key: str, layers: int) -> int | None:
    """The layer an `overrides` key means, counting from 0, or None where there is none such."""
    try:
        index = int(key)
    except ValueError:
        return None
    return index % layers if -layers <= index < layers else None


def variants(layers: int, pattern: list[str], overrides: Any) -> list[str]:
    """The variant of every layer: `block`, `blocks.NAME` or `overrides.KEY`."""
    names = [pattern[i % len(pattern)] if pattern else COMMON for i in range(layers)]
    out = [name if name == COMMON else f"blocks.{name}" for name in names]
    for key in overrides:
        index = layer_index(str(key), layers)
        if index is not None:
            out[index] = f"overrides.{key}"
    return out


def layer_site(site: Site, layers: int, index: int) -> Site:
    """The site of layer `index`."""
    return site.child(f"layers.{index}", layer=index, layers=layers)
