"""The loss of experts that are likely to serve unequally many tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.load_nn import LoadBalance


@register("load")
class Load(Balance):
    """A loss of weight · CV(Load)², the load of an expert being the sum over the tokens of the batch of the chance that
    noise makes it one of theirs: smooth, where counts are not (Shazeer et al., 2017, eq. 10–11).

    There is noise in training alone, and so is this loss.
    """

    beside: ClassVar[dict[str, Any]] = {"model.block.feed_forward.router": {"type": "noisy_top_k"}}

    weight: PositiveFloat = 0.1
    """What the loss counts for beside the objective."""

    @property
    def needs(self) -> frozenset[str]:
        """The chance of each expert's being chosen."""
        return frozenset({"load"})

    def build(self, at: Site) -> LoadBalance:
        """The module."""
        from blueprint_registry.balance.load_nn import LoadBalance

        return LoadBalance(self)
