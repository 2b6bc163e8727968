"""The k experts that score highest for a token, under noise whose size is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.noisy_top_k_nn import NoisyTopKRouter


@register("noisy_top_k")
class NoisyTopK(Router):
    """Noisy top-k gating: logits x·W_g + N(0, 1) · softplus(x·W_noise), of which the softmax is taken over the k
    highest; in evaluation without noise (Shazeer et al., 2017, *Outrageously Large Neural Networks*, eq. 3–5).

    While training it gives the chance of each expert's being chosen were its own noise drawn again (eq. 8–9), which the
    balance `load` evens out; beside it the paper uses the balance `importance`.
    """

    k: Annotated[int, Field(ge=2)] = 2
    """How many experts serve a token: two or more, as over one alone a softmax is 1 whatever the router does."""
    initial: Literal["zero", "init"] = "zero"
    """What both matrices start as: `zero`, at which noise alone chooses (appendix A), or as `init` fills any other."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The paper's, and one that begins to prefer at once."""
        return [{}, {"k": 3, "initial": "init"}]

    @property
    def gives(self) -> frozenset[str]:
        """Besides the rest the smooth load."""
        return super().gives | {"load"}

    def choices(self, at: Site) -> float:
        """k."""
        return self.k

    def fewest(self, at: Site) -> int:
        """One more than k."""
        return self.k + 1

    def check(self, at: Site) -> Faults:
        """Some expert is not chosen."""
        experts = at.extra["experts"]
        if self.k >= experts:
            told = f"{self.k} of {experts} experts leave nothing to choose"
            fix = "say `router: soft`" if experts < 3 else f"choose k from 2 to {experts - 1}, or say `router: soft`"
            return Fault(told, "k", fix)
        return None

    def build(self, at: Site) -> NoisyTopKRouter:
        """The module."""
        from blueprint_registry.router.noisy_top_k_nn import NoisyTopKRouter

        return NoisyTopKRouter(self, at)
