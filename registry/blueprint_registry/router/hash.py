"""An expert for every id, by lot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt

from blueprint.component import Fault, Site, register
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.hash_nn import HashRouter


@register("hash")
class Hash(Router):
    """A token goes to the expert of its id, by a table that is drawn by lot and never learned, another in each layer;
    every expert has equally many ids (Roller et al., 2021, *Hash Layers for Large Sparse Models*, §3)."""

    seed: NonNegativeInt = 0
    """What the lots are drawn from, together with the layer."""

    @property
    def gives(self) -> frozenset[str]:
        """Nothing: there is nothing that a balance could change."""
        return frozenset()

    def choices(self, at: Site) -> float:
        """One."""
        return 1.0

    def check(self, at: Site) -> Iterator[Fault]:
        """There are ids, enough for every expert to have one."""
        if not at.ids:
            told = "router `hash` chooses by the id of a token, and parts of an image have none"
            yield Fault(told, fix="say `router: top_k`")
        elif at.vocab_size is not None and at.extra["experts"] > at.vocab_size:
            told = f"{at.extra['experts']} experts cannot each have an id of {at.vocab_size}"
            yield Fault(told, fix=f"take at most {at.vocab_size} experts, or say `router: top_k`")

    def build(self, at: Site) -> HashRouter:
        """The module."""
        from blueprint_registry.router.hash_nn import HashRouter

        return HashRouter(self, at)
