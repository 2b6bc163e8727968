"""Telling a text's two views from those of other texts."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.contrastive_nn import ContrastiveObjective


@register("contrastive")
class Contrastive(Objective):
    """Cross-entropy of which vector of a batch is the second view of a text, given the first: −log of the share that
    exp(cos(a, b) / temperature) has of the same with all others, a mean over texts in nats (InfoNCE: van den Oord et
    al., 2018, eq. 4; unsupervised SimCSE: Gao et al., 2021, eq. 4).

    The two views differ by what dropout leaves out, so the model needs some. Held-out views are the same, and the loss
    there tells how far texts lie apart. Other texts are those of the whole batch, however many processes share it.
    Losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "compares"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    beside: ClassVar[dict[str, Any]] = {"model.head": "pooler"}
    unit: ClassVar[str | None] = "text"

    temperature: PositiveFloat = 0.05
    """What cosines are divided by: the smaller, the more the nearest of the others count."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Warm, as suits few texts."""
        return [{"temperature": 0.5}]

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """A head that gives a vector, and no classes."""
        what = "objective `contrastive` compares vectors, and the model's head gives classes"
        return Fault(what, "model.head", "say `head: pooler`")

    def build(self, at: Site) -> "ContrastiveObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.contrastive_nn import ContrastiveObjective

        return ContrastiveObjective(self)
