"""Gated linear unit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveFloat

from blueprint.component import Component, Number, Site, Size, register, slot
from blueprint.kinds import FeedForward, Norm
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.feed_forward.gated_nn import GatedFeedForward


@register("gated")
class Gated(FeedForward):
    """Gated linear unit: (act(x W) ⊙ x V) W₂; with silu it is SwiGLU, with gelu GEGLU (Shazeer, 2020, eq. 6)."""

    d_ff: Size = "ceil(8 * d_model / 3 / 64) * 64"
    """Width of the hidden layer; by default two thirds of `4 * d_model`, so that three matrices hold as many parameters
    as the two of an `mlp`, rounded up to a multiple of 64."""

    activation: Activation = slot("silu")
    """The function on the gate."""

    bias: bool = False
    """Whether all three maps add a bias."""

    clamp: PositiveFloat | None = None
    """Bounds the gate, ahead of its activation, from above and x V to ±clamp (GPT-OSS, 2025); null for no bound."""

    up_offset: Number = 0
    """Added to x V after `clamp`: 1 lets the gate alone through where x V is 0 (GPT-OSS, 2025)."""

    inner_norm: Norm | None = slot(None)
    """A norm of the hidden layer, before the last map (Shleifer et al., 2021, *NormFormer*, §2.1); null for none."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the gated hidden activations dropped in training."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """SwiGLU, GEGLU with biases, as GPT-OSS has it, and with a norm inside as BitNet has it."""
        bounded = {"activation": {"type": "swish", "alpha": 1.5}, "bias": True, "clamp": 7.0, "up_offset": 1}
        normed = {"activation": "relu2", "inner_norm": "rms"}
        return [{}, {"activation": "gelu", "bias": True, "dropout": 0.1}, bounded, normed]

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The activation and the inner norm, at the hidden width."""
        for name, part, _ in super().parts(at):
            yield name, part, at.child(name, width=int(at.number(self.d_ff)))

    def build(self, at: Site) -> "GatedFeedForward":
        """The module from `at.width` to `at.width`."""
        from blueprint_registry.feed_forward.gated_nn import GatedFeedForward

        return GatedFeedForward(self, at)
