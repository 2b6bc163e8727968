"""Prediction of the next token."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.causal_nn import CausalObjective


@register("causal")
class Causal(Objective):
    """Cross-entropy of every next token given those before it, a mean over tokens in nats (Bengio et al., 2003, §2).

    Smoothing, z-loss and the losses of the model's parts act in training alone, so that validation losses of different
    settings compare.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token"})
    models: ClassVar[frozenset[str]] = frozenset({"decoder"})

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability spread evenly over the vocabulary in the target (Szegedy et al., 2016, §7)."""

    z_loss: Annotated[float, Field(ge=0)] = 0.0
    """Weight of log²Z, Z the softmax's denominator, which keeps logits from drifting (PaLM, 2022, §5: 1e-4)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and with both additions."""
        return [{}, {"label_smoothing": 0.1, "z_loss": 1e-4}]

    def build(self, at: Site) -> "CausalObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.causal_nn import CausalObjective

        return CausalObjective(self)
