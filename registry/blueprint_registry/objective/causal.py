"""Prediction of the next token."""

from typing import TYPE_CHECKING, ClassVar

from blueprint.component import Site, register
from blueprint_registry.objective._predicting import Predicting

if TYPE_CHECKING:
    from blueprint_registry.objective._tokens_nn import TokensObjective


@register("causal")
class Causal(Predicting):
    """Cross-entropy of every next token given those before it, a mean over tokens in nats (Bengio et al., 2003, §2).

    Smoothing, z-loss and the losses of the model's parts act in training alone, so that validation losses of different
    settings compare.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token", "running", "every_token", "softmax"})
    models: ClassVar[frozenset[str]] = frozenset({"decoder"})

    def build(self, at: Site) -> "TokensObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective._tokens_nn import TokensObjective

        return TokensObjective(self)
