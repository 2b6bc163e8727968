"""Logits of the classes that a whole sequence may belong to."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from blueprint.component import Site, register
from blueprint_registry.head._pooled import Pooled

if TYPE_CHECKING:
    from blueprint_registry.head.classification_nn import ClassificationHead


@register("classification")
class Classification(Pooled):
    """Logits of the classes of a whole sequence (Devlin et al., 2019, §4.1; Radford et al., 2018, §3.2). BERT's pooler
    is `over: first, activation: tanh`."""

    labels: PositiveInt
    """How many classes there are."""

    bias: bool = True
    """Whether a learned bias is added to the logits."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the vector dropped in training before the last matrix."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """On the first token as it is; BERT's; GPT's and Llama's; over means, with norms."""
        bert = {"labels": 3, "activation": "tanh", "dropout": 0.1}
        both = {"labels": 3, "over": "first_and_mean", "norm": "layer"}
        return [{"labels": 3}, bert, {"labels": 2, "over": "last", "bias": False}, {"labels": 3, "over": "mean"}, both]

    @property
    def classes(self) -> int:
        """`labels`."""
        return self.labels

    def build(self, at: Site) -> "ClassificationHead":
        """The module from `at.width` to `labels`."""
        from blueprint_registry.head.classification_nn import ClassificationHead

        return ClassificationHead(self, at)
