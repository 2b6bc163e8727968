"""Texts that go with images. Shapes: `B` batch, `N` pairs that count, `C` classes, `K` texts of each, `R` texts that
are read at once, `T` tokens, `P` width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import with_losses

if TYPE_CHECKING:
    from blueprint_registry.objective.image_text import ImageText

IGNORED = -100
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")

#: Texts of classes that are read at once.
CHUNK = 256


class ImageTextObjective:
    """Which of a batch's texts goes with which of its images."""

    def __init__(self, said: ImageText) -> None:
        self.said = said
        #: The vector of each class's texts (C, P), while the data has any.
        self._classes_CP: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The loss, and as metrics the same without gradient (`loss`, nats a pair), the number of pairs it is a mean of
        (`tokens`), and the terms of the model's parts; outside training, what the scores are `told`.

        The batch has ids (B, T) and images, the b-th of one with the b-th of the other; rows without any of the
        `labels` only fill it up.
        """
        labels = batch["labels"]
        counted_B = (labels != IGNORED).reshape(len(labels), -1).any(1)
        out = model(**{name: batch[name] for name in _INPUTS if batch.get(name) is not None})
        logits_NN = out.logits.float()[counted_B][:, counted_B]
        loss = self.total(logits_NN) / counted_B.sum().clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": counted_B.sum()}
        if model.training:
            return with_losses(loss, out.terms), metrics
        ids_NT = batch["input_ids"][counted_B]
        told: dict[str, tuple[Tensor, ...]] = {}
        if len(ids_NT):
            same_NN = (ids_NT[:, None] == ids_NT[None]).all(-1)
            for name, best_N in (("image_to_text", logits_NN.argmax(1)), ("text_to_image", logits_NN.argmax(0))):
                told[name] = (same_NN.gather(1, best_N[:, None]).float(),)
            if self._classes_CP is not None:
                scores_NC = out.vectors["image"][counted_B].float() @ self._classes_CP.T
                told["zero_shot"] = (scores_NC.argmax(1), labels[counted_B])
        return loss, metrics | {"told": told}

    def total(self, logits_NN: Tensor) -> Tensor:
        """The summed loss of the logits of every image with every text, the right ones on the diagonal."""
        if self.said.loss == "sigmoid":
            sign_NN = 2 * torch.eye(len(logits_NN), device=logits_NN.device, dtype=logits_NN.dtype) - 1
            return -F.logsigmoid(sign_NN * logits_NN).sum()
        right_N = torch.arange(len(logits_NN), device=logits_NN.device)
        found = [F.cross_entropy(each_NN, right_N, reduction="sum") for each_NN in (logits_NN, logits_NN.T)]
        return (found[0] + found[1]) / 2

    @torch.no_grad()
    def refer(self, model: nn.Module, references: Mapping[str, Tensor]) -> None:
        """Read the texts of the classes, `input_ids` and `attention_mask` (C, K, T), by the model as it is now."""
        self._classes_CP = None
        if not references:
            return
        rows = zip(*(references[name].flatten(0, 1).split(CHUNK) for name in _INPUTS[:2]), strict=True)
        vectors = torch.cat([model(ids_RT, mask_RT).vectors["text"].float() for ids_RT, mask_RT in rows])
        mean_CP = vectors.unflatten(0, references["input_ids"].shape[:2]).mean(1)
        self._classes_CP = F.normalize(mean_CP, dim=-1)

    def scores(self) -> dict[str, Any]:
        """The share of images, and of texts, whose other half is found; of images whose class is."""
        from torchmetrics import MeanMetric
        from torchmetrics.classification import MulticlassAccuracy

        found: dict[str, Any] = {"image_to_text": MeanMetric(), "text_to_image": MeanMetric()}
        if self._classes_CP is not None:
            found["zero_shot"] = MulticlassAccuracy(average="micro", validate_args=False)
        return found
