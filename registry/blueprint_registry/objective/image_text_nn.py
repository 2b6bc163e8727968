"""Texts that go with images. Shapes: `B` batch, `N` pairs that count, `M` those
of all processes that share the batch, `C` classes, `K` texts of each, `R` texts that
are read at once, `T` tokens, `P` width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.ops import of_everyone, with_losses

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
        counted_M, own = of_everyone(counted_B)
        right_N = (counted_M.cumsum(0) - 1)[own][counted_B]
        logits_NM, texts_NM = self._logits(model, out, counted_B, counted_M)
        loss = self.total(logits_NM, texts_NM, right_N) / counted_B.sum().clamp_min(1)
        terms = {name: value.detach() for name, value in out.terms.items()}
        metrics = terms | {"loss": loss.detach(), "tokens": counted_B.sum()}
        if model.training:
            return with_losses(loss, out.terms), metrics
        ids_MT = of_everyone(batch["input_ids"])[0][counted_M]
        told: dict[str, tuple[Tensor, ...]] = {}
        if len(right_N):
            same_NM = (ids_MT[right_N][:, None] == ids_MT[None]).all(-1)
            for name, scores_NM in (("image_to_text", logits_NM), ("text_to_image", texts_NM)):
                told[name] = (same_NM.gather(1, scores_NM.argmax(1, keepdim=True)).float(),)
            if self._classes_CP is not None:
                scores_NC = out.vectors["image"][counted_B].float() @ self._classes_CP.T
                told["zero_shot"] = (scores_NC.argmax(1), labels[counted_B])
        return loss, metrics | {"told": told}

    @staticmethod
    def _logits(model: Any, out: Any, counted_B: Tensor, counted_M: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (N, M) of the images here with all texts, and of the texts here with all images."""
        if counted_M is counted_B:
            logits_NN = out.logits.float()[counted_B][:, counted_B]
            return logits_NN, logits_NN.T
        vectors = {side: (x_BP[counted_B], of_everyone(x_BP)[0][counted_M]) for side, x_BP in out.vectors.items()}
        (image_NP, image_MP), (text_NP, text_MP) = vectors["image"], vectors["text"]
        compare = model.contrast.compare
        return compare(image_NP, text_MP).float(), compare(image_MP, text_NP).float().T

    def total(self, logits_NM: Tensor, texts_NM: Tensor, right_N: Tensor) -> Tensor:
        """The summed loss of the logits of images with all texts, and of their texts with all images; the n-th goes
        with the `right_N`-th."""
        if self.said.loss == "sigmoid":
            sign_NM = 2 * F.one_hot(right_N, logits_NM.shape[1]).to(logits_NM.dtype) - 1
            return -F.logsigmoid(sign_NM * logits_NM).sum()
        found = [F.cross_entropy(each_NM, right_N, reduction="sum") for each_NM in (logits_NM, texts_NM)]
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
