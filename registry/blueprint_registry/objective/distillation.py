"""Learning from what another model answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, FilePath, Section, Site, as_faults, register, rule, slot
from blueprint.kinds import Objective, Tokenizer, of_part

if TYPE_CHECKING:
    from blueprint_registry.objective.distillation_nn import DistillationObjective


class Kept(Section):
    """What is kept of a teacher's answers on disk."""

    top: PositiveInt | None = None
    """How many of the likeliest answers are kept for each prediction, as one class the rest; null keeps all."""

    numbers: Literal["float16", "float32"] = "float16"
    """Number format of the logarithms of probabilities that are kept."""


@register("distillation")
class Distillation(Objective):
    """(1 − alpha) · T² · KL(p ‖ q) + alpha · loss: p and q are a teacher's and the model's probabilities at the
    temperature T, softmax(logits / T), and the loss is that of the right answers (Hinton et al., 2015, §2).

    The teacher is frozen and without dropout; what it is asked is what the model is. It acts in training alone:
    validation has the loss of the right answers, which compares with that of a model without a teacher.
    """

    traits: ClassVar[frozenset[str]] = of_part("hard", frozenset())
    models: ClassVar[frozenset[str]] = of_part("hard", frozenset())
    samples: ClassVar[frozenset[str]] = of_part("hard", frozenset())
    measure: ClassVar[str] = of_part("hard", "nats")
    unit: ClassVar[str | None] = of_part("hard", None)

    teacher: FilePath
    """The run, checkpoint, build or import folder whose model is the teacher; relative to the file of the spec that
    says it, in an override to the working directory."""

    hard: Objective = slot()
    """What is asked, and the loss of the right answers (hard labels); whatever predicts by a softmax."""

    temperature: PositiveFloat = 2.0
    """T: what logits are divided by. The greater, the more unlikely answers count."""

    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The weight of the right answers; the teacher's have the rest."""

    cache: Kept | None = None
    """Whether the teacher is asked about every training sample once, before the first step, and its answers are kept on
    disk; null asks it anew each time. Worth its room where the data is read several times."""

    @rule("hard")
    def _probabilities(hard: Objective) -> Faults:
        if "softmax" in hard.traits and not hard.asks():
            return None
        what = f"objective `{hard.spec_name}` predicts by no softmax of its own, so a teacher has no probabilities"
        return Fault(what, "hard", "say one that does, such as `causal`, `masked` or `classification`")

    @rule("hard", "cache")
    def _samples_come_again(hard: Objective, cache: Kept | None) -> Faults:
        if cache is None or type(hard).change is Objective.change:
            return None
        what = f"objective `{hard.spec_name}` makes new samples every epoch, of which nothing can be kept"
        return Fault(what, "cache", "remove `cache`")

    @rule("hard", "alpha")
    def _weighed_at_all(hard: Objective, alpha: float) -> Faults:
        said = [name for name in ("label_smoothing", "z_loss") if getattr(hard, name, 0)]
        if alpha or not said:
            return None
        return Fault(f"with `alpha: 0` the right answers have no weight, and `{said[0]}` does nothing", "alpha")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Of a language model; with the likeliest answers kept."""
        said = {"teacher": "runs/large", "hard": "causal"}
        return [said, {**said, "temperature": 4.0, "alpha": 0.1, "cache": {"top": 4}}]

    def asks(self) -> Mapping[str, str]:
        """The teacher."""
        return {"teacher": self.teacher}

    def keeps(self) -> str | None:
        """What is asked, the temperature and how answers are kept."""
        said = [self.hard.spec_name, self.temperature]
        return None if self.cache is None else json.dumps([*said, self.cache.to_plain()])

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """As the objective of the right answers says."""
        return self.hard.fits_labels(labels, outputs)

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """As the objective of the right answers says."""
        return self.hard.cut(tokenizer)

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """As the objective of the right answers says."""
        return self._moved(self.hard.fits(tokenizer))

    def fits_length(self, tokenizer: Tokenizer, length: int, longest: int | None) -> Faults:
        """As the objective of the right answers says."""
        return self._moved(self.hard.fits_length(tokenizer, length, longest))

    def change(self, tokenizer: Tokenizer) -> Callable[[dict[str, Any], str], dict[str, Any]] | None:
        """As the objective of the right answers says."""
        return self.hard.change(tokenizer)

    def start_id(self, tokenizer: Tokenizer) -> int | None:
        """As the objective of the right answers says."""
        return self.hard.start_id(tokenizer)

    def build(self, at: Site) -> "DistillationObjective":
        """The function `(model, batch) -> (loss, metrics)`, which has yet to meet its teacher."""
        from blueprint_registry.objective.distillation_nn import DistillationObjective

        return DistillationObjective(self, self.hard.build(at.child("hard")))

    @staticmethod
    def _moved(faults: Faults) -> Faults:
        """Faults of the objective inside, at the keys they have here."""
        found = [
            replace(each, at=(each.at or "objective").replace("objective.", "objective.hard."))
            for each in as_faults(faults, "objective")
        ]
        return found or None
