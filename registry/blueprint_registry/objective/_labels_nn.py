"""Labels told by a head: of whole sequences and images, or of every token. Shapes: `B` batch, `N` samples of it, `C`
outputs of the head, which are all that is predicted from: `D`; of tokens, `B` stands for batch and tokens (B, T).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from blueprint_registry.objective._judging_nn import JudgingObjective

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")


class LabelsObjective(JudgingObjective):
    """The mean loss of a head's outputs, given their `labels` (−100 is not counted); subclasses say what that is, and
    what is predicted."""

    @abstractmethod
    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """The sum of the losses of those that count, ()."""

    def predicted(self, logits_BC: Tensor) -> Tensor:
        """The class of each sample (B,): the likeliest."""
        return logits_BC.argmax(-1)

    def run(self, model: nn.Module, batch: Mapping[str, Any]) -> Any:
        """What the model makes of its inputs, which the batch has by their names."""
        return model(**{name: batch[name] for name in _INPUTS if batch.get(name) is not None})

    def states(self, out: Any) -> Tensor:
        """The head's outputs (B, C)."""
        logits: Tensor = out.logits
        return logits

    def logits(self, model: nn.Module, states_ND: Tensor) -> Tensor:
        """The same: they are predictions already."""
        return states_ND

    def classes(self, model: nn.Module) -> int:
        """The outputs of the head."""
        size: int = model.plan.model.head.classes  # type: ignore[union-attr, assignment]
        return size

    def judged(self, model: nn.Module, out: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of `labels` (B,), and as metrics the same without gradient (`loss`, a sample's), the number of
        samples it is a mean of (`tokens`), the terms of the model's parts, and outside training the class `predicted`
        (B,)."""
        labels_B, logits_BC = batch["labels"], out.logits.float()
        # A batch of rows that only fill it up is zero, and not nan.
        count = self.counted(labels_B).sum()
        loss = self.total(logits_BC, labels_B, model.training) / count.clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": count}
        return loss, metrics if model.training else metrics | {"predicted": self.predicted(logits_BC)}

    def scores(self) -> dict[str, Any]:
        """The share of samples whose predicted class is the right one."""
        from torchmetrics.classification import MulticlassAccuracy

        return {"accuracy": MulticlassAccuracy(average="micro", validate_args=False)}
