"""Experts drawn one after another, each from those that come close to the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.sparse_mixer_nn import SparseMixerRouter


@register("sparse_mixer")
class SparseMixer(Router):
    """Experts chosen one after another, each weighted by its share among those that come close to the best of what is
    left (Liu et al., 2023, *Sparse Backpropagation for MoE Training*; Liu et al., 2024, *GRIN*, §2.1).

    While training each is drawn by its share, and what was drawn but is not the best counts for a third in three draws
    of four, so that the gradient of the weight follows that of the choice (Heun's third-order method).
    """

    k: PositiveInt = 2
    """How many experts serve a token."""
    jitter: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How close is close: an expert's logit is below the best by at most 2 · jitter of its own size, or of the best if
    that is larger."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Phi-3.5-MoE's, and one expert of many that come close."""
        return [{}, {"k": 1, "jitter": 0.5}]

    def passing(self) -> frozenset[str]:
        """Noise is of training alone."""
        return super().passing() | {"jitter"}

    def choices(self, at: Site) -> float:
        """k."""
        return self.k

    def fewest(self, at: Site) -> int:
        """One more than k."""
        return self.k + 1

    def check(self, at: Site) -> Faults:
        """There are as many experts as are asked for."""
        experts = at.extra["experts"]
        if self.k > experts:
            return Fault(f"{self.k} experts cannot be chosen of {experts}", "k", f"choose k from 1 to {experts}")
        return None

    def build(self, at: Site) -> SparseMixerRouter:
        """The module."""
        from blueprint_registry.router.sparse_mixer_nn import SparseMixerRouter

        return SparseMixerRouter(self, at)
