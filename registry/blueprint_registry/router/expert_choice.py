"""Experts that choose their tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from blueprint.component import Fault, Site, register
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.expert_choice_nn import ExpertChoiceRouter


@register("expert_choice")
class ExpertChoice(Router):
    """Each of E experts takes the factor · tokens / E tokens that score highest for it (rounded down, at least one),
    weighted by the softmax over experts: a token may have many experts or none, and all experts are evenly used without
    any balance (Zhou et al., 2022, *Mixture-of-Experts with Expert Choice Routing*, §3.2, eq. 1).

    Whether an expert has room for a token depends on later tokens too, so it cannot stand in a causal stack.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"looks_ahead"})
    beside: ClassVar[dict[str, Any]] = {"model.causal": False}

    factor: PositiveFloat = 2.0
    """How many experts a token has on average."""
    over: Literal["sequence", "batch"] = "sequence"
    """Which tokens an expert chooses among, padding aside: those of every `sequence` by itself, or of the whole `batch`
    as in the paper, which makes what becomes of a sequence depend on those beside it."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The paper's two experts a token, and fewer than one."""
        return [{}, {"factor": 0.75}]

    @property
    def gives(self) -> frozenset[str]:
        """Logits; the load is even, and nothing else is for a balance to change."""
        return frozenset({"logits"})

    def choices(self, at: Site) -> float:
        """The factor."""
        return self.factor

    def fewest(self, at: Site) -> int:
        """More than a token has on average."""
        return max(4, math.floor(self.factor) + 1)

    def check(self, at: Site) -> Iterator[Fault]:
        """No token before another depends on it; experts do not each take all tokens."""
        if at.causal:
            yield Fault(
                "here tokens may not depend on later ones, but router `expert_choice` looks ahead: an expert takes the "
                "best of all tokens, so a later one can push an earlier one out",
                fix="say `router: top_k`, in which tokens choose; or use it in an encoder",
            )
        if self.factor >= at.extra["experts"]:
            told = f"{self.factor:g} of {at.extra['experts']} experts a token leave nothing to choose"
            yield Fault(told, "factor", f"choose a factor below {at.extra['experts']}, or say `router: soft`")

    def build(self, at: Site) -> ExpertChoiceRouter:
        """The module."""
        from blueprint_registry.router.expert_choice_nn import ExpertChoiceRouter

        return ExpertChoiceRouter(self, at)
