"""A number for a whole sequence."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from blueprint.component import Fault, Site, register
from blueprint.kinds import Objective

if TYPE_CHECKING:
    from blueprint_registry.objective.regression_nn import RegressionObjective


@register("regression")
class Regression(Objective):
    """How far the one output of the head lies from each sample's number, squared or as it is: a mean over samples
    (Devlin et al., 2019, §4.1, for the scores of STS-B). Held-out samples are scored by the share of the numbers'
    variance that is explained, too.

    Losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "labels"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder", "decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"scored"})
    beside: ClassVar[dict[str, Any]] = {"model.head": {"type": "classification", "labels": 1}}
    measure: ClassVar[str] = "error"

    error: Literal["squared", "absolute"] = "squared"
    """Whether the difference is squared (then the model tends to the mean) or taken without its sign (the median)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Either error."""
        return [{}, {"error": "absolute"}]

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """One output."""
        if outputs == 1:
            return None
        what = f"objective `regression` reads one output, and the model's head gives {outputs}"
        return Fault(what, "model.head.labels", "say `labels: 1` in `model.head`")

    def build(self, at: Site) -> "RegressionObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.regression_nn import RegressionObjective

        return RegressionObjective(self)
