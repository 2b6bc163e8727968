"""Multi-head latent attention: keys and values of all heads out of one narrow vector a token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt

from blueprint.choice import Choice, choose
from blueprint.component import Component, Factor, Fault, Means, Site, as_faults, register, rule, slot
from blueprint.kinds import Attention, Mask, Norm, Position
from blueprint.visible import Visible
from blueprint_registry.attention._said import Temperature, scale_faults

if TYPE_CHECKING:
    from blueprint_registry.attention.latent_nn import LatentAttention


@register("latent")
class Latent(Attention):
    """Multi-head latent attention (DeepSeek-AI, 2024, *DeepSeek-V2*, §2.1): a token keeps one latent vector, from which
    all heads make their keys and values, and one key that tells positions, which all heads share."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "incremental", "exportable"})

    heads: PositiveInt
    """How many heads there are."""
    kv_rank: PositiveInt
    """Width of the latent vector of keys and values."""
    q_rank: PositiveInt | None = None
    """Width of the latent vector that queries are made of; null to make them of the token itself."""
    nope_dim: PositiveInt
    """Width of that part of a head's queries and keys that knows no positions."""
    rope_dim: PositiveInt
    """Width of the other part, which positions turn; all heads share the keys of this part."""
    value_dim: PositiveInt
    """Width of a head's values."""
    bias: bool = False
    """Whether the projections of the stream have a bias: those into the latent vectors, and the one back."""
    scale: Factor = "1/sqrt(head_dim)"
    """What scores are multiplied by before the softmax, where head_dim is nope_dim + rope_dim; a rope scaled by `yarn`
    with `mscale_all_dim` sharpens it by the square of that scale."""
    temperature: Temperature | None = None
    """Scores that sharpen with the position of the query; null for the same everywhere."""
    latent_norm: Norm = slot("rms")
    """The norm of the latent vectors, each with one of its own. It inherits nothing: its eps is 1e-6 unless said."""
    mask: Mask | list[Mask] = slot("full")
    """Which keys a query may see, beyond the stack's causality; a list means what all of them let it see."""
    position: Position = slot({"type": "rope", "pairs": "interleaved"})
    """How attention knows positions, in `rope_dim` channels of each head."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the attention weights dropped while training."""
    backend: Annotated[Literal["auto", "sdpa", "blocked", "flex", "dense"], Means()] = "auto"
    """What computes attention over whole sequences; `auto` takes the fastest that can. Decoding chooses for itself."""

    @rule("mask")
    def _masks_narrow(mask: Mask | list[Mask]) -> Iterator[Fault]:
        masks = [mask] if isinstance(mask, Mask) else mask
        if not masks:
            yield Fault("an empty list names no mask", fix="say `full` to hide nothing")
        for index, item in enumerate(masks):
            if len(masks) > 1 and item.spec_name == "full":
                yield Fault("`full` beside other masks hides nothing", f"mask.{index}", "remove it from the list")

    @property
    def reads_positions(self) -> bool:
        """Its position does, or the sharpness of its scores."""
        return self.temperature is not None or self.position.reads_positions

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Queries of the token itself, and out of a latent vector, with biases and scaled positions."""
        sizes = {"heads": 4, "kv_rank": 12, "nope_dim": 6, "rope_dim": 4, "value_dim": 10}
        yarn = {"type": "yarn", "factor": 4.0, "original_length": 8, "beta_fast": 4.0, "mscale": 1, "mscale_all_dim": 1}
        position = {"type": "rope", "scaling": yarn}
        tempered = {**sizes, "temperature": {"scale": 0.5, "floor": 3}}
        return [sizes, {**sizes, "q_rank": 14, "bias": True, "position": position, "dropout": 0.1}, tempered]

    @property
    def masks(self) -> tuple[Mask, ...]:
        """The masks, of which a key must pass every one."""
        return (self.mask,) if isinstance(self.mask, Mask) else tuple(self.mask)

    @property
    def forced(self) -> str | None:
        """The backend asked for by name."""
        return None if self.backend == "auto" else self.backend

    def visible(self, at: Site) -> Visible:
        """What the stack's causality and every mask let a query see."""
        seen = Visible(ahead=0) if at.causal else Visible()
        for mask in self.masks:
            seen &= mask.visible(at.child("mask"))
        return seen

    def inside(self, at: Site) -> Site:
        """Where masks and position stand: in the part of a head that positions turn."""
        at = replace(at, heads=self.heads, kv_heads=self.heads, value_dim=self.value_dim)
        return replace(at, width=self.rope_dim, head_dim=self.nope_dim + self.rope_dim)

    def norm_sites(self, at: Site) -> dict[str, Site]:
        """Where the norms of the latent vectors stand, by name."""
        ranks = {"q_norm": self.q_rank, "kv_norm": self.kv_rank}
        return {name: at.child(name, width=rank) for name, rank in ranks.items() if rank is not None}

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """Masks, position and the norms of the latent vectors."""
        inside = self.inside(at)
        for mask in self.masks:
            yield "mask", mask, inside.child("mask")
        yield "position", self.position, inside.child("position")
        for site in self.norm_sites(at).values():
            yield "latent_norm", self.latent_norm, site

    def evaluated(self, at: Site) -> Self:
        """The numbers, those that speak of the width of a head once it is known."""
        said = super().evaluated(at)
        if isinstance(said.nope_dim, str) or isinstance(said.rope_dim, str):
            return said
        return super(Latent, said).evaluated(replace(at, head_dim=said.nope_dim + said.rope_dim))

    def filled(self, at: Site) -> Self:
        """The scale evaluated at the width of a head; `mask` in the shortest way to say the same."""
        filled = super().filled(replace(at, head_dim=self.nope_dim + self.rope_dim))
        return filled.model_copy(update={"mask": filled.masks[0] if len(filled.masks) == 1 else filled.mask})

    def miniature(self, at: Site) -> Self:
        """Few and narrow heads of short latent vectors."""
        # The narrowest part that turns on which its positions still work.
        small = next((n for n in (8, 16, 32, 64) if n < self.rope_dim and not self._position_faults(at, n)), None)
        update: dict[str, Any] = {
            "heads": min(self.heads, 4),
            "kv_rank": min(self.kv_rank, 16),
            "q_rank": None if self.q_rank is None else min(self.q_rank, 24),
            "nope_dim": min(self.nope_dim, 8),
            "rope_dim": small or self.rope_dim,
            "value_dim": min(self.value_dim, 8),
        }
        if self.temperature is not None:
            update["temperature"] = self.temperature.shortened(at.max_length)
        return Attention.miniature(self.model_copy(update=update), at)

    def _position_faults(self, at: Site, width: int) -> list[Fault]:
        """What is wrong with the position in a part of this width."""
        return list(as_faults(self.position.check(replace(self.inside(at), width=width).child("position"))))

    def check(self, at: Site) -> Iterator[Fault]:
        """Positions must leave keys unread, and a backend that is asked for must be able."""
        if self.position.asks() & {"content", "values"}:
            yield Fault(
                f"`{self.position.spec_name}` reads the keys of every head, which latent attention never makes when it "
                "decodes",
                "position",
                "choose `rope`, a bias such as `alibi`, or `none`",
            )
        yield from scale_faults(self.scale)
        # A spec may be checked elsewhere than it runs: only what no device can do is refused here.
        refusals = [self._refusal(at, device) for device in ("cuda", "cpu")]
        if refusals[0] and all(refusals):
            yield Fault(refusals[0], "backend", "say `auto` to take the fastest that can")

    def choice(self, at: Site, length: int, device: str) -> Choice:
        """What computes attention over `length` tokens on a kind of device; raises ValueError where what is asked for
        cannot.
        """
        return choose(
            self.visible(at),
            plain=True,
            softcap=False,
            bias="bias" in self.position.asks(),
            sinks=False,
            dropout=self.dropout,
            device=device,
            q_len=length,
            k_len=length,
            forced=self.forced,
        )

    def _refusal(self, at: Site, device: str) -> str | None:
        """Why the backend asked for cannot compute this attention on a kind of device."""
        try:
            self.choice(at, at.max_length or 1, device)
        except ValueError as error:
            return str(error)
        return None

    def build(self, at: Site) -> LatentAttention:
        """The module."""
        from blueprint_registry.attention.latent_nn import LatentAttention

        return LatentAttention(self, at)
