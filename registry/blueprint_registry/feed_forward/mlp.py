"""Two linear maps with an activation between them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from blueprint.component import Component, Site, Size, register, slot
from blueprint.kinds import FeedForward, Norm
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

    inner_norm: Norm | None = slot(None)
    """A norm of the hidden layer, before the last map (Shleifer et al., 2021, *NormFormer*, §2.1); null for none."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the hidden activations dropped in training."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, as the original transformer had it, and with a norm inside as Kosmos-2 has it."""
        original = {"activation": "relu", "bias": True, "dropout": 0.1}
        return [{}, original, {"bias": True, "inner_norm": "layer"}]

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The activation and the inner norm, at the hidden width."""
        for name, part, _ in super().parts(at):
            yield name, part, at.child(name, width=int(at.number(self.d_ff)))

    def build(self, at: Site) -> "MlpFeedForward":
        """The module from `at.width` to `at.width`."""
        from blueprint_registry.feed_forward.mlp_nn import MlpFeedForward

        return MlpFeedForward(self, at)
