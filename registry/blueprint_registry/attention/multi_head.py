"""Multi-head attention, with as many or as few heads of keys and values as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.choice import Choice, choose
from blueprint.component import Component, Factor, Fault, Faults, Means, Site, as_faults, register, rule, slot
from blueprint.kinds import Attention, Mask, Norm, Position
from blueprint.visible import Visible
from blueprint_registry.attention._said import OutputGate, QkNorm, Temperature, scale_faults

if TYPE_CHECKING:
    from blueprint_registry.attention.multi_head_nn import MultiHeadAttention

Projection = Literal["q", "k", "v", "o"]
PROJECTIONS: tuple[Projection, ...] = ("q", "k", "v", "o")


@register("multi_head")
class MultiHead(Attention):
    """Multi-head attention (Vaswani et al., 2017, §3.2.2); heads may share keys and values (Ainslie et al., 2023)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "incremental", "exportable", "memory"})
    across: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"mask": None, "position": "none", "temperature": None, "backend": None}
    )

    heads: PositiveInt
    """How many heads ask: heads of queries."""
    kv_heads: PositiveInt | None = None
    """How many heads of keys and values they share; null for as many as `heads`, 1 for multi-query attention."""
    head_dim: PositiveInt | None = None
    """Width of a head's queries and keys; null for d_model / heads."""
    value_dim: PositiveInt | None = None
    """Width of a head's values; null for `head_dim`."""
    bias: bool | list[Projection] = False
    """Whether the projections have a bias: all, none, or a list of those that do, of q, k, v and o."""
    scale: Factor = "1/sqrt(head_dim)"
    """What scores are multiplied by before the softmax."""
    softcap: PositiveFloat | None = None
    """Bounds scores smoothly, as softcap · tanh(score / softcap); null for no bound."""
    qk_norm: QkNorm | None = None
    """A norm on queries and keys; null for none."""
    clip: PositiveFloat | None = None
    """Bounds every number of queries, keys and values to ±clip, after a norm that comes `before` positions and ahead of
    these; null for no bound."""
    temperature: Temperature | None = None
    """Scores that sharpen with the position of the query; null for the same everywhere."""
    sinks: bool = False
    """Whether each head has a learned logit beside those of the keys, so that it may attend to nothing (GPT-OSS, 2025,
    after Xiao et al., 2023, §3.3)."""
    value_scale: Factor = 1
    """What values are multiplied by."""
    inner_norm: Norm | None = slot(None)
    """A norm of what all heads gathered, before the output projection (Wang et al., 2022, *Foundation Transformers*,
    §2.2); null for none."""
    gate: OutputGate | None = None
    """A gate on what the heads gathered, after the inner norm and before the output projection; null for none."""
    mask: Mask | list[Mask] = slot("full")
    """Which keys a query may see, beyond the stack's causality; a list means what all of them let it see."""
    position: Position = slot("rope")
    """How attention knows positions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the attention weights dropped while training."""
    backend: Annotated[Literal["auto", "sdpa", "blocked", "flex", "dense"], Means()] = "auto"
    """What computes attention over whole sequences; `auto` takes the fastest that can. Decoding chooses for itself."""

    @rule("heads", "kv_heads")
    def _heads_share_keys(heads: int, kv_heads: int | None) -> Faults:
        if kv_heads is None or heads % kv_heads == 0:
            return None
        told = f"{heads} heads cannot share {kv_heads} kv_heads: heads must be a multiple of kv_heads"
        return Fault(told, fix=f"choose `kv_heads` from {_listed(heads)}")

    @rule("bias")
    def _bias_named_once(bias: bool | list[Projection]) -> Iterator[Fault]:
        names = [] if isinstance(bias, bool) else bias
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Fault(f"`{name}` is named twice", f"bias.{index}")

    @rule("mask")
    def _masks_narrow(mask: Mask | list[Mask]) -> Iterator[Fault]:
        masks = [mask] if isinstance(mask, Mask) else mask
        if not masks:
            yield Fault("an empty list names no mask", fix="say `full` to hide nothing")
        for index, item in enumerate(masks):
            if len(masks) > 1 and item.spec_name == "full":
                yield Fault("`full` beside other masks hides nothing", f"mask.{index}", "remove it from the list")

    @rule("value_scale", "inner_norm")
    def _values_count(value_scale: float | str, inner_norm: Norm | None) -> Faults:
        if value_scale != 1 and inner_norm is not None:
            return Fault("`inner_norm` undoes `value_scale`", fix="leave one of them out")
        return None

    @property
    def reads_positions(self) -> bool:
        """Its position does, or the sharpness of its scores."""
        return self.temperature is not None or self.position.reads_positions

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Own keys; shared keys under a norm of the whole width; one head of keys, with biases and bounds; then the
        ways of OLMo and GPT-OSS, Llama 4, AFMoE and BitNet."""
        shared = {"heads": 4, "kv_heads": 2, "qk_norm": {"over": "full"}, "bias": ["q", "v"]}
        single = {"heads": 4, "kv_heads": 1, "head_dim": 6, "value_dim": 10, "bias": True, "scale": "2 / head_dim"}
        norm = {"over": "heads", "when": "after", "norm": {"type": "layer", "bias": False}}
        clipped = {"heads": 4, "clip": 1.5, "sinks": True, "value_scale": "1 / sqrt(n_layers)"}
        tempered = {
            "heads": 4,
            "qk_norm": {"when": "after", "norm": {"type": "rms", "affine": False}},
            "temperature": {"scale": 0.5, "floor": 3, "offset": 1},
            "mask": {"type": "chunked", "chunk": 8},
        }
        gated = {"heads": 4, "value_dim": 6, "gate": {"bias": True}}
        normed = {"heads": 4, "inner_norm": "layer", "gate": {"per": "head", "activation": "softplus"}}
        bounded = {**single, "softcap": 20.0, "qk_norm": norm, "dropout": 0.1}
        return [{"heads": 4}, shared, bounded, clipped, tempered, gated, normed]

    @property
    def masks(self) -> tuple[Mask, ...]:
        """The masks, of which a key must pass every one."""
        return (self.mask,) if isinstance(self.mask, Mask) else tuple(self.mask)

    @property
    def biased(self) -> tuple[Projection, ...]:
        """The projections that have a bias."""
        names = PROJECTIONS if self.bias is True else self.bias or ()
        return tuple(name for name in PROJECTIONS if name in names)

    @property
    def forced(self) -> str | None:
        """The backend asked for by name."""
        return None if self.backend == "auto" else self.backend

    def head_width(self, at: Site) -> int:
        """The width of a head; raises ValueError where it is left to d_model / heads and that is no whole number."""
        if self.head_dim is None and at.width % self.heads:
            raise ValueError(f"head_dim is d_model / heads = {at.width}/{self.heads}, not a whole number")
        return self.head_dim or at.width // self.heads

    def visible(self, at: Site) -> Visible:
        """What the stack's causality and every mask let a query see."""
        if at.across:
            return Visible()
        seen = Visible(ahead=0) if at.causal else Visible()
        for mask in self.masks:
            seen &= mask.visible(at.child("mask"))
        return seen

    def inside(self, at: Site) -> Site:
        """Where the parts of a head stand."""
        width = self.head_width(at)
        at = replace(at, heads=self.heads, kv_heads=self.kv_heads or self.heads)
        return replace(at, width=width, head_dim=width, value_dim=self.value_dim or width)

    def norm_sites(self, at: Site) -> dict[str, Site]:
        """Where the norms of queries and keys stand, by name, at the width of what they normalise."""
        inside = self.inside(at)
        heads = {"q_norm": self.heads, "k_norm": self.kv_heads or self.heads}
        full = self.qk_norm is not None and self.qk_norm.over == "full"
        return {name: inside.child(name, width=inside.width * (n if full else 1)) for name, n in heads.items()}

    def gathered(self, at: Site) -> int:
        """The width of what all heads gather."""
        return self.heads * (self.value_dim or self.head_width(at))

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """Masks, position, the norms of queries and keys, and what comes before the output projection."""
        inside = self.inside(at)
        for mask in self.masks:
            yield "mask", mask, inside.child("mask")
        yield "position", self.position, inside.child("position")
        if self.qk_norm is not None:
            for site in self.norm_sites(at).values():
                yield "qk_norm.norm", self.qk_norm.norm, site
        if self.inner_norm is not None:
            yield "inner_norm", self.inner_norm, inside.child("inner_norm", width=self.gathered(at))
        if self.gate is not None:
            width = self.gathered(at) if self.gate.per == "element" else self.heads
            yield "gate.activation", self.gate.activation, inside.child("gate_activation", width=width)

    def _with_parts(self, at: Site, change: Callable[[Component, Site], Component]) -> dict[str, Any]:
        update = super()._with_parts(at, change)
        for name, part, site in self.parts(at):
            section, _, field = name.partition(".")
            if field and section not in update:  # queries and keys have one norm between them
                update[section] = getattr(self, section).model_copy(update={field: change(part, site)})
        return update

    def evaluated(self, at: Site) -> Self:
        """The numbers, those that speak of the width of a head once it is known."""
        said = super().evaluated(at)
        known = said.head_dim is not None or not isinstance(said.heads, str)
        if isinstance(said.head_dim, str) or not known or (said.head_dim is None and at.width % said.heads):
            return said
        return super(MultiHead, said).evaluated(replace(at, head_dim=said.head_width(at)))

    def filled(self, at: Site) -> Self:
        """Head counts and widths written out; `bias` and `mask` in the shortest way to say the same."""
        width = self.head_width(at)
        filled = super().filled(replace(at, head_dim=width))
        update: dict[str, Any] = {
            "kv_heads": self.kv_heads or self.heads,
            "head_dim": width,
            "value_dim": self.value_dim or width,
            "bias": {0: False, len(PROJECTIONS): True}.get(len(self.biased), list(self.biased)),
            "mask": filled.masks[0] if len(filled.masks) == 1 else filled.mask,
        }
        return filled.model_copy(update=update)

    def miniature(self, at: Site) -> Self:
        """Few and narrow heads, sharing keys where the heads here share them."""
        kv_heads, width, value_dim = self.kv_heads or self.heads, self.head_width(at), self.value_dim or 0
        few = min(kv_heads, 2)
        # The narrowest head on which its positions still work.
        sizes = [n for n in (8, 16, 32, 64, 128) if n < width]
        small = next((n for n in sizes if not self._position_faults(at, n)), width)
        update: dict[str, Any] = {
            "heads": few * min(self.heads // kv_heads, 2),
            "kv_heads": few,
            "head_dim": small,
            "value_dim": max(1, value_dim * small // width),
        }
        if self.temperature is not None:
            update["temperature"] = self.temperature.shortened(at.max_length)
        return Attention.miniature(self.model_copy(update=update), at)

    def _position_faults(self, at: Site, width: int) -> list[Fault]:
        """What is wrong with the position in heads of this width."""
        inside = replace(self.inside(at), width=width, head_dim=width)
        return list(as_faults(self.position.check(inside.child("position"))))

    def check(self, at: Site) -> Iterator[Fault]:
        """Widths must come out whole, and a backend that is asked for must be able."""
        try:
            self.head_width(at)
        except ValueError as error:
            yield Fault(f"{error}; say head_dim, or choose heads that divide {at.width}", "heads")
            return
        if at.across:
            yield from self._across_faults()
        yield from scale_faults(self.scale)
        # A spec may be checked elsewhere than it runs: only what no device can do is refused here.
        refusals = [self._refusal(at, device) for device in ("cuda", "cpu")]
        if refusals[0] and all(refusals):
            yield Fault(refusals[0], "backend", "say `auto` to take the fastest that can")

    def choice(self, at: Site, length: int, device: str) -> Choice:
        """What computes attention over `length` tokens on a kind of device; ValueError where `backend` cannot do it."""
        return choose(
            self.visible(at),
            plain=True,
            softcap=self.softcap is not None,
            bias=bool(self.position.asks() & {"bias", "content"}),
            values="values" in self.position.asks(),
            sinks=self.sinks,
            dropout=self.dropout,
            device=device,
            q_len=length,
            k_len=length,
            forced=self.forced,
        )

    def _across_faults(self) -> Iterator[Fault]:
        """What speaks of places in one sequence, where queries and keys come from two."""
        if any(mask.spec_name != "full" for mask in self.masks):
            yield Fault("a memory is read whole: it has no places that a mask could hide", "mask", "leave `mask` out")
        if self.position.spec_name != "none":
            told = f"`{self.position.spec_name}` positions mean nothing between two sequences"
            yield Fault(told, "position", "leave `position` out")
        if self.temperature is not None:
            told = "a temperature goes by how much lies before a token, and all of a memory does"
            yield Fault(told, "temperature", "leave `temperature` out")

    def _refusal(self, at: Site, device: str) -> str | None:
        """Why the backend asked for cannot compute this attention on a kind of device."""
        try:
            self.choice(at, at.max_length or 1, device)
        except ValueError as error:
            return str(error)
        return None

    def build(self, at: Site) -> MultiHeadAttention:
        """The module; across, one that reads the memory."""
        from blueprint_registry.attention.cross_nn import CrossAttention
        from blueprint_registry.attention.multi_head_nn import MultiHeadAttention

        return (CrossAttention if at.across else MultiHeadAttention)(self, at)


def _listed(heads: int) -> str:
    """The numbers that divide `heads`, as text."""
    return ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
