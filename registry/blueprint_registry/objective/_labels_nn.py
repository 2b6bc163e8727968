"""Labels told by a head: of whole sequences and images, or of every token. Shapes: `B` batch, `C` outputs of the head;
of tokens, `B` stands for batch and tokens (B, T).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from blueprint.ops import with_losses

IGNORED = -100
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")


class LabelsObjective:
    """The mean loss of a head's outputs, given their `labels` (−100 is not counted); subclasses say what that is, and
    what is predicted."""

    @abstractmethod
    def total(self, logits_BC: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        """The sum of the losses of those that count, ()."""

    def counted(self, labels_B: Tensor) -> Tensor:
        """Which samples count, (B,)."""
        return labels_B != IGNORED

    def predicted(self, logits_BC: Tensor) -> Tensor:
        """The class of each sample (B,): the likeliest."""
        return logits_BC.argmax(-1)

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and as metrics the same without gradient (`loss`, a sample's), the number of samples it is a mean
        of (`tokens`), the terms of the model's parts, and outside training what is `predicted` (B,).

        The batch has `labels` (B,), and the model's inputs by their names.
        """
        labels_B = batch["labels"]
        out = model(**{name: batch[name] for name in _INPUTS if batch.get(name) is not None})
        logits_BC = out.logits.float()
        counted_B = self.counted(labels_B)
        # A batch of rows that only fill it up is zero, and not nan.
        loss = self.total(logits_BC, labels_B, model.training) / counted_B.sum().clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": counted_B.sum()}
        if model.training:
            return with_losses(loss, out.terms), metrics
        return loss, metrics | {"predicted": self.predicted(logits_BC)}

    def scores(self) -> dict[str, Any]:
        """The share of samples whose predicted class is the right one."""
        from torchmetrics.classification import MulticlassAccuracy

        return {"accuracy": MulticlassAccuracy(average="micro", validate_args=False)}
