"""The loss of experts that count for unequally much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.importance_nn import ImportanceBalance


@register("importance")
class Importance(Balance):
    """A loss of weight · CV(Importance)², the importance of an expert being the sum of its weights over the tokens of
    the batch (Shazeer et al., 2017, eq. 6–7)."""

    weight: PositiveFloat = 0.1
    """What the loss counts for beside the objective."""

    @property
    def needs(self) -> frozenset[str]:
        """Weights that are learned."""
        return frozenset({"weight"})

    def build(self, at: Site) -> ImportanceBalance:
        """The module."""
        from blueprint_registry.balance.importance_nn import ImportanceBalance

        return ImportanceBalance(self)
