"""The class of a whole sequence or image."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.classification_nn import ClassificationObjective


@register("classification")
class Classification(Objective):
    """Cross-entropy of the right class of each sample, a mean over samples in nats (Devlin et al., 2019, §4.1;
    Dosovitskiy et al., 2021, §3.1). Held-out samples are scored by accuracy, too.

    Smoothing and the losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "labels", "softmax"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"labelled", "images"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "classification", "labels": 3}}

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability spread evenly over the classes in the target (Szegedy et al., 2016, §7)."""

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """Two outputs at least, and one for each label."""
        if outputs < 2:
            what = "the only class there is always has a probability of 1, from which nothing is learned"
            return Fault(what, "model.head.labels", "say as many `labels` as the data has, or `objective: binary`")
        return super().fits_labels(labels, outputs)

    def build(self, at: Site) -> "ClassificationObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.classification_nn import ClassificationObjective

        return ClassificationObjective(self)
