"""Balance without a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.bias_nn import BiasBalance


@register("bias")
class Bias(Balance):
    """No loss: after every optimizer step the router's correction goes up by `rate` for each expert that had less than
    the mean load of the step's tokens, and down by it for each that had more (Wang et al., 2024, *Loss-Free Balancing*,
    algorithm 1; DeepSeek-V3, 2024, §2.1.2)."""

    beside: ClassVar[dict[str, Any]] = {"model.block.feed_forward.router": {"type": "top_k", "correction": "score"}}

    rate: PositiveFloat = 1e-3
    """How far the correction goes in a step (V3's γ)."""

    @property
    def needs(self) -> frozenset[str]:
        """A correction."""
        return frozenset({"correction"})

    def build(self, at: Site) -> BiasBalance:
        """The module."""
        from blueprint_registry.balance.bias_nn import BiasBalance

        return BiasBalance(self)
