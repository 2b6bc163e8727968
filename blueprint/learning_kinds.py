"""The kinds of what a model learns by: objectives, optimizers, schedules.

They are spoken of as `blueprint.kinds`, beside the parts of models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat

from blueprint.component import Component, Fault, Faults, Section, rule
from blueprint.data_kinds import Tokenizer

if TYPE_CHECKING:
    pass


class _OfPart:
    def __init__(self, field: str, usual: Any) -> None:
        self.field, self.usual = field, usual

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.usual if instance is None else getattr(getattr(instance, self.field), self.name)


def of_part(field: str, usual: Any) -> Any:
    """A class variable that an instance takes from the part in one of its fields; the class itself has `usual`."""
    return _OfPart(field, usual)


class Objective(Component, kind="objective"):
    """What is minimised. Object: `(model, batch) -> (loss, metrics)`, loss a mean in nats, of which `metrics` has the
    plain cross-entropy (`loss`) and what it is a mean over (`tokens`: how many predictions); no module. The site's
    `extra` says how many `classes` the model's head tells apart, where it does.

    One that reads logits of whole sequences has the trait `pooled`, as the heads that give them, one that reads classes
    of tokens `tags`, as those; one whose labels are classes has the trait `labels`, and `several` where a sample may
    have any number of them; one whose targets are tokens that the model must not see has the trait `next_token`; one
    that predicts tokens of running text, or of what is made of it, has `running`, and one that predicts all of them as
    they stand there `every_token`; one by which a decoder learns to see prompts both ways has `prefixes`; one whose
    predictions are a softmax's, over tokens or classes, has `softmax`; one whose loss hangs on which samples a batch
    has, because it compares them, has `compares`.

    An object may offer `scores()`, torchmetrics by name: held-out batches then have `predicted` among their metrics, of
    the shape of the batch's labels, or `told`, what each score is updated with, by its name. It may offer
    `refer(model, references)`: before its scores are asked for, it is given what the data says of its labels at large,
    arrays by name (an empty map where that is nothing). Of held-out batches `loss` and `tokens` may be vectors, of
    parts whose means add up; an object of such parts has a `share`, which a training sets to what weighs the mean of so
    many predictions among those of other processes.

    One that asks models which were trained elsewhere names them in `asks`. In training its object then has been given
    them, by `meet(models)`; they are in eval mode, learn nothing and are stored nowhere with the model that learns.
    """

    formulas: ClassVar[bool] = False

    #: The kinds of model it can train, by `model.type`.
    models: ClassVar[frozenset[str]] = frozenset()
    #: The kinds of samples it reads, as sources give them (`DataSource.gives`).
    samples: ClassVar[frozenset[str]] = frozenset({"text"})

    #: What its loss is measured in; a cross-entropy is in nats.
    measure: ClassVar[str] = "nats"
    #: What its loss is a mean over, where that is not what its samples say.
    unit: ClassVar[str | None] = None

    def asks(self) -> Mapping[str, str]:
        """Where the models lie that it asks, by the key that says so (`teacher`): runs, checkpoints or folders. They
        answer the same samples, by as many outputs, as the model that learns."""
        return {}

    def keeps(self) -> str | None:
        """What tells the answers of those models from any others about the same samples, where they are worth keeping
        on disk; None where they are asked anew each time.

        The object then has `answers(batch) -> {name: (B, …)}`, which depend on the sample alone; a training batch has
        those of its samples under their names."""
        return None

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """What is wrong with so many labels in the data (None: not known yet) for a head of so many outputs."""
        if labels is None or labels <= outputs:
            return None
        what = f"the data has {labels} labels, but the model's head tells {outputs} apart"
        return Fault(what, "model.head.labels", f"say `labels: {labels}` in `model.head`")

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What its samples need to know of a tokenizer that `fits` besides the end of a text."""
        return {}

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """What the objective needs of a tokenizer and does not find in this one; no torch."""
        return None

    def fits_length(self, tokenizer: Tokenizer, length: int, longest: int | None) -> Faults:
        """What is in the way of making its samples from `length` tokens each, for a model that reads `longest`."""
        return None

    def change(self, tokenizer: Tokenizer) -> Callable[[dict[str, Any], str], dict[str, Any]] | None:
        """What is made of a sample before it is learned from, or None for nothing.

        The function takes the arrays of a sample, (T,) each, and a word: whatever it draws by lot it draws from the
        word alone, which tells seed, split, epoch and sample. It can be pickled, and its arrays are new ones.
        """
        return None

    def start_id(self, tokenizer: Tokenizer) -> int | None:
        """The id that it teaches a decoder to begin a target with; None where it writes no targets for sources."""
        return None


class WeightGroup(Section):
    """Weights of which an optimizer is told something else than of the others."""

    parts: Annotated[list[str], Field(min_length=1)]
    """How the names of its weights begin (`embedding`, `layers.0`); `*` stands for any letters of a step
    (`layers.*.attention`), `**` for any number of steps (`**.router`). The first group that names a weight has it."""
    lr: PositiveFloat | None = None
    """Their learning rate, in place of the optimizer's."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Their weight decay, in place of the optimizer's; vectors never decay."""

    @rule("lr", "weight_decay", "parts")
    def _says_something(lr: float | None, weight_decay: float | None, parts: list[str]) -> Faults:
        if lr is None and weight_decay is None:
            return Fault("the group changes nothing", "parts", "say its `lr` or its `weight_decay`")
        return None


class Optimizer(Component, kind="optimizer"):
    """What moves the weights. Object: `(weights) -> torch.optim.Optimizer`, of the parameters that learn.

    Each of the `weights` (`blueprint.ops.Weight`) tells its name, its role, and the `lr` and `weight_decay` that are
    said of it alone; `blueprint.ops.parameter_groups` makes torch's groups of them.
    """

    formulas: ClassVar[bool] = False

    groups: list[WeightGroup] = []
    """Parts of the model that learn at a rate of their own, or decay otherwise."""


class Schedule(Component, kind="schedule"):
    """The learning rate through time: `factor(step, total)` multiplies the optimizer's `lr`; no torch."""

    formulas: ClassVar[bool] = False

    def factor(self, step: int, total: int) -> float:
        """The multiplier at optimizer step `step` (from 0) of `total`."""
        raise TypeError(f"schedule `{self.spec_name}` has no factor")

    def fits(self, total: int) -> Faults:
        """What of it does not fit into a training of `total` steps."""
        return None
