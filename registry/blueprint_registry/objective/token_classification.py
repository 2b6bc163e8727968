"""The class of each word."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from blueprint.component import Site, register
from blueprint.kinds import Objective, Tokenizer

if TYPE_CHECKING:
    from blueprint_registry.objective.token_classification_nn import TokenClassificationObjective


@register("token_classification")
class TokenClassification(Objective):
    """Cross-entropy of the right class of each word, a mean over the tokens that carry it, in nats (Devlin et al.,
    2019, §5.3). Held-out words are scored by accuracy and by F1 averaged over classes, too.

    Smoothing and the losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"tags", "labels"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"tagged"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "token_classification", "labels": 3}}

    token: Literal["first", "last", "all"] = "first"
    """Which tokens of a word carry its class, the others counting for nothing. A causal model has read a word only at
    its last."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability spread evenly over the classes in the target (Szegedy et al., 2016, §7)."""

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Which tokens of a word count."""
        return {"token": self.token}

    def build(self, at: Site) -> "TokenClassificationObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.token_classification_nn import TokenClassificationObjective

        return TokenClassificationObjective(self, at)
