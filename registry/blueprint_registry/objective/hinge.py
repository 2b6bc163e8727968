"""A margin between the right class and all others."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.hinge_nn import HingeObjective


@register("hinge")
class Hinge(Objective):
    """What the right class of each sample lacks of a margin above the best wrong one, max(0, margin + max z − z_y), a
    mean over samples (Crammer & Singer, 2001, §3). Held-out samples are scored by accuracy, too.

    Losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "labels"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"labelled", "images"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "classification", "labels": 3}}
    measure: ClassVar[str] = "hinge loss"

    margin: PositiveFloat = 1.0
    """How far the right output is to lie above the others."""

    squared: bool = False
    """Whether what is lacking is squared (Tang, 2013, §2.2)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and squared."""
        return [{}, {"margin": 0.5, "squared": True}]

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """Two outputs at least, and one for each label."""
        if outputs < 2:
            what = "objective `hinge` compares outputs, and the model's head gives one"
            return Fault(what, "model.head.labels", "say as many `labels` in `model.head` as the data has")
        return super().fits_labels(labels, outputs)

    def build(self, at: Site) -> "HingeObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.hinge_nn import HingeObjective

        return HingeObjective(self)
