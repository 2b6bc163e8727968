"""Logits of the classes that each token may belong to."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from blueprint.component import Site, register
from blueprint_registry.head._pooled import Transforming

if TYPE_CHECKING:
    from blueprint_registry.head.token_classification_nn import TokenClassificationHead


@register("token_classification")
class TokenClassification(Transforming):
    """Logits of the classes of every token (Devlin et al., 2019, §5.3), where wanted after a dense layer and a norm."""

    traits: ClassVar[frozenset[str]] = frozenset({"tags"})

    labels: PositiveInt
    """How many classes there are."""

    bias: bool = True
    """Whether a learned bias is added to the logits."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the vectors dropped in training before the last matrix."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """On the tokens as they are; BERT's; after a dense layer and a norm."""
        dense = {"labels": 3, "activation": "gelu", "dense_bias": False, "norm": "layer", "bias": False}
        return [{"labels": 3}, {"labels": 3, "dropout": 0.1}, dense]

    @property
    def classes(self) -> int:
        """`labels`."""
        return self.labels

    def build(self, at: Site) -> "TokenClassificationHead":
        """The module from `at.width` to `labels`."""
        from blueprint_registry.head.token_classification_nn import TokenClassificationHead

        return TokenClassificationHead(self, at)
