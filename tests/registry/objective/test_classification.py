"""The classification objective against the plain form of its loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.training.scores import score, scores
from blueprint_registry.objective.classification import Classification

SITE = Site(d_model=8, width=8)
LABELS = torch.tensor([2, 0, -100, 1])


@dataclass
class Out:
    logits: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Model(nn.Module):
    """Logits of three classes, of ids or of images."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.flat = nn.Embedding(11, 3), nn.Linear(12, 3)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Any = None, pixel_values: Tensor | None = None
    ) -> Out:
        if pixel_values is not None:
            return Out(self.flat(pixel_values.flatten(1)))
        assert input_ids is not None
        return Out(self.table(input_ids).mean(1), {"a_loss": torch.tensor(0.5), "balance": torch.tensor(2.0)})


INPUTS: dict[str, dict[str, Tensor]] = {
    "ids": {"input_ids": torch.randint(11, (4, 5)), "attention_mask": torch.ones(4, 5, dtype=torch.bool)},
    "images": {"pixel_values": torch.rand(4, 3, 2, 2)},
}


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_mean_cross_entropy_of_the_classes(inputs: str, train: bool) -> None:
    model, given = Model().train(train), INPUTS[inputs]
    loss, metrics = Classification(label_smoothing=0.2).build(SITE)(model, {**given, "labels": LABELS})
    out = model(**given)
    plain = F.cross_entropy(out.logits, LABELS, label_smoothing=0.2 if train else 0.0)
    torch.testing.assert_close(loss, plain + (0.5 if train and out.terms else 0))
    torch.testing.assert_close(metrics["loss"], plain)
    assert metrics["tokens"] == 3
    assert train or torch.equal(metrics["predicted"], out.logits.argmax(-1))


def test_a_batch_without_labels_that_count_is_zero_and_not_nan() -> None:
    batch = {**INPUTS["ids"], "labels": torch.full((4,), -100)}
    loss, metrics = Classification().build(SITE)(Model().eval(), batch)
    assert loss.item() == 0
    assert metrics["tokens"] == 0


def test_accuracy_is_the_share_of_right_classes_among_those_that_count() -> None:
    found = scores(Classification().build(SITE))
    score(found, {"predicted": torch.tensor([2, 1, 1, 1])}, {"labels": LABELS})
    score(found, {"predicted": torch.tensor([0, 0])}, {"labels": torch.tensor([-100, -100])})
    assert found["accuracy"].compute().item() == pytest.approx(2 / 3)
