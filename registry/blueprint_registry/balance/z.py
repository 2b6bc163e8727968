"""The loss of large logits of a router."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.z_nn import ZBalance


@register("z")
class Z(Balance):
    """A loss of weight · (log Σ exp logits)², a mean over tokens: it keeps the router's logits small, and its
    probabilities from rounding (Zoph et al., 2022, *ST-MoE*, eq. 5)."""

    weight: PositiveFloat = 1e-3
    """What the loss counts for beside the objective."""

    @property
    def needs(self) -> frozenset[str]:
        """Logits."""
        return frozenset({"logits"})

    def build(self, at: Site) -> ZBalance:
        """The module."""
        from blueprint_registry.balance.z_nn import ZBalance

        return ZBalance(self)
