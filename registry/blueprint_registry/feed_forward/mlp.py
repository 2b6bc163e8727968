"""Two linear maps with an activation between them."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from blueprint.component import Site, Size, register, slot
from blueprint.kinds import FeedForward
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.feed_forward.mlp_nn import MlpFeedForward


@register("mlp")
class Mlp(FeedForward):
    """Two linear maps with an activation between them: act(x W₁ + b₁) W₂ + b₂ (Vaswani et al., 2017, eq. 2)."""

    d_ff: Size = "4 * d_model"
    """Width of the hidden layer."""

    activation: Activation = slot("gelu")
    """The function between the two maps."""

    bias: bool = False
    """Whether both maps add a bias."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the hidden activations dropped in training."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and as the original transformer had it."""
        return [{}, {"activation": "relu", "bias": True, "dropout": 0.1}]

    def build(self, at: Site) -> "MlpFeedForward":
        """The module from `at.width` to `at.width`."""
        from blueprint_registry.feed_forward.mlp_nn import MlpFeedForward

        return MlpFeedForward(self, at)
