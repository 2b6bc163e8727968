"""Yes or no to each of several labels."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.multi_label_nn import MultiLabelObjective


@register("multi_label")
class MultiLabel(Objective):
    """Binary cross-entropy of whether each sample has each label, by one output of the head a label: a mean over labels
    and samples in nats (Nam et al., 2014, §3.1). Held-out samples are scored by F1, over all answers (`micro_f1`) and
    averaged over labels (`macro_f1`), and by average precision, too.

    The weights and the losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "labels", "several"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"multi_labelled"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "classification", "labels": 3}}

    positive_weight: PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=1)] = 1.0
    """What the losses of labels that a sample has are multiplied with, as where few have them; a list says it for each
    label, in the order of their numbers."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and weighted label by label."""
        return [{}, {"positive_weight": [3.0, 1.0, 0.5]}]

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """An output for each label, and a weight for each output."""
        if isinstance(self.positive_weight, list) and len(self.positive_weight) != outputs:
            what = f"`positive_weight` lists {len(self.positive_weight)} weights for {outputs} labels"
            return Fault(
                what, "objective.positive_weight", "say one for each of the labels of `model.head`, or one number"
            )
        return super().fits_labels(labels, outputs)

    def build(self, at: Site) -> "MultiLabelObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.multi_label_nn import MultiLabelObjective

        return MultiLabelObjective(self, at)
