"""The loss of uneven experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Balance

if TYPE_CHECKING:
    from blueprint_registry.balance.expert_nn import ExpertBalance


@register("expert")
class Expert(Balance):
    """A loss of weight · E · Σ fᵢ Pᵢ over the E experts, with fᵢ the share of all choices that fell on expert i and Pᵢ
    the mean of its probabilities: 1 · weight where all are even (Fedus et al., 2021, eq. 4–6; DeepSeek-V2, 2024,
    eq. 12–14).

    DeepSeek's α₁ is the weight; where choices are counted without dividing by their number k, as by the transformers
    library's `router_aux_loss_coef`, the weight here is k times theirs.
    """

    weight: PositiveFloat = 0.01
    """What the loss counts for beside the objective."""
    over: Literal["sequence", "batch", "layers"] = "batch"
    """What shares and means are taken over: every `sequence` by itself, the mean of their losses being taken
    (DeepSeek-V3, 2024, eq. 17–20); the `batch`; or the batch in all `layers` of the stack at once, as the transformers
    library does."""
    choices: Literal["all", "first"] = "all"
    """Which choices of a token are counted: `all`, or the `first` alone, its best expert (Lepikhin et al., 2020,
    *GShard*, Algorithm 1, whose c_e counts them ahead of any capacity)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Over each of the three, and GShard's."""
        return [{}, {"over": "sequence"}, {"over": "layers", "weight": 0.5}, {"choices": "first"}]

    @property
    def needs(self) -> frozenset[str]:
        """Probabilities."""
        return frozenset({"probability"})

    def check(self, at: Site) -> Faults:
        """There are choices after the first, if that one is to be counted alone."""
        if self.choices == "first" and at.extra["choices"] == 1:
            return Fault("with one choice a token the first is all there are", "choices", "leave `choices` out")
        return None

    def build(self, at: Site) -> ExpertBalance:
        """The module."""
        from blueprint_registry.balance.expert_nn import ExpertBalance

        return ExpertBalance(self)
