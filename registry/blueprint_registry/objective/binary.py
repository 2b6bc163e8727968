"""Yes or no for a whole sequence or image."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.binary_nn import BinaryObjective


@register("binary")
class Binary(Objective):
    """Binary cross-entropy of which of two labels each sample has, by one output of the head: a mean over samples in
    nats (logistic regression: Cox, 1958). The second label is the one that a positive output means. Held-out samples
    are scored by accuracy, too.

    The weight and the losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "labels"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"labelled", "images"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "classification", "labels": 1}}

    positive_weight: PositiveFloat = 1.0
    """What the losses of samples with the second label are multiplied with, as where these are few."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and weighted."""
        return [{}, {"positive_weight": 3.0}]

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """One output, and two labels."""
        if outputs != 1:
            what = f"objective `binary` reads one output, and the model's head gives {outputs}"
            return Fault(what, "model.head.labels", "say `labels: 1` in `model.head`, or objective `classification`")
        if labels is not None and labels != 2:
            what = f"objective `binary` tells two labels apart, and the data has {labels}"
            return Fault(what, "objective", f"say `objective: classification`, and `labels: {labels}` in `model.head`")
        return None

    def build(self, at: Site) -> "BinaryObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.binary_nn import BinaryObjective

        return BinaryObjective(self)
