"""Gated linear unit."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from blueprint.component import Site, Size, register, slot
from blueprint.kinds import FeedForward
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

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the gated hidden activations dropped in training."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """SwiGLU, and GEGLU with biases."""
        return [{}, {"activation": "gelu", "bias": True, "dropout": 0.1}]

    def build(self, at: Site) -> "GatedFeedForward":
        """The module from `at.width` to `at.width`."""
        from blueprint_registry.feed_forward.gated_nn import GatedFeedForward

        return GatedFeedForward(self, at)
