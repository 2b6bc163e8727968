"""Every expert for every token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprint.component import Site, register
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.soft_nn import SoftRouter


@register("soft")
class Soft(Router):
    """Every expert serves every token, weighted by a softmax over all of them (Jacobs et al., 1991, *Adaptive Mixtures
    of Local Experts*, §1).

    Layers of such experts that each pass on what they make, and not the sum with what they were given, are the stacked
    mixture of Eigen et al. (2013, *Learning Factored Representations in a Deep Mixture of Experts*, §3): blocks with
    `attention: null` and `residual: {type: scaled, stream: 0}`.
    """

    bias: bool = False
    """Whether the logits have a learned bias."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Without a bias and with one."""
        return [{}, {"bias": True}]

    @property
    def gives(self) -> frozenset[str]:
        """Logits and weights; no expert is ever left out, so none has a chance of being chosen to even out."""
        return super().gives - {"probability"}

    def choices(self, at: Site) -> float:
        """All."""
        return float(at.extra["experts"])

    def build(self, at: Site) -> SoftRouter:
        """The module."""
        from blueprint_registry.router.soft_nn import SoftRouter

        return SoftRouter(self, at)
