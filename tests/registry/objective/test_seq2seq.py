"""The sequence-to-sequence objective against the plain form of its loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.ops import cross_entropy
from blueprint.training.scores import score, scores
from blueprint_registry.objective.seq2seq import Seq2seq

SITE = Site(d_model=8, width=8)
LABELS = torch.tensor([[3, 4, 5, -100], [6, 7, 8, 9], [1, 2, -100, -100]])
BATCH = {
    "input_ids": torch.randint(11, (3, 6)),
    "attention_mask": torch.ones(3, 6, dtype=torch.bool),
    "decoder_input_ids": torch.randint(11, (3, 4)),
    "decoder_attention_mask": LABELS != -100,
    "labels": LABELS,
}


@dataclass
class Out:
    hidden: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Model(nn.Module):
    """A model that answers as an encoder-decoder does and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.asked: dict[str, Any] = {}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, *, decoder_input_ids: Tensor, logits: bool, **asked: Any
    ) -> Out:
        self.asked = {"attention_mask": attention_mask, **asked}
        assert not logits
        return Out(torch.tanh(self.table(decoder_input_ids) + self.table(input_ids).mean(1, keepdim=True)))

    def project(self, hidden: Tensor) -> Tensor:
        return hidden @ self.table.weight.T

    def cross_entropy(self, hidden: Tensor, target: Tensor, **options: Any) -> Tensor:
        return cross_entropy(hidden.flatten(0, 1), self.table.weight, target.flatten(), **options)

    def logits(self) -> Tensor:
        mask = BATCH["attention_mask"]
        found: Out = self(BATCH["input_ids"], mask, decoder_input_ids=BATCH["decoder_input_ids"], logits=False)
        return self.project(found.hidden)


@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_cross_entropy_of_the_target_and_additions_act_in_training_alone(train: bool) -> None:
    model = Model().train(train)
    loss, metrics = Seq2seq(label_smoothing=0.2, z_loss=0.1).build(SITE)(model, BATCH)
    assert model.asked["decoder_attention_mask"] is BATCH["decoder_attention_mask"]
    logits, labels = model.logits().flatten(0, 1), LABELS.flatten()
    z = logits.logsumexp(-1)[labels != -100].square().mean()
    wanted = (
        F.cross_entropy(logits, labels, label_smoothing=0.2) + 0.1 * z if train else F.cross_entropy(logits, labels)
    )
    torch.testing.assert_close(loss, wanted)
    assert metrics["tokens"] == 9
    assert ("predicted" in metrics) is not train


def test_scores_are_right_tokens_and_targets_right_throughout() -> None:
    objective = Seq2seq().build(SITE)
    predicted = LABELS.clone()
    predicted[0, 3] = 10  # behind the end: it counts for nothing
    predicted[1, 2] = 0
    found = scores(objective)
    fill = torch.full_like(LABELS, -100)
    score(found, {"predicted": predicted}, {"labels": LABELS})
    score(found, {"predicted": predicted}, {"labels": fill})
    assert found["accuracy"].compute().item() == pytest.approx(8 / 9)
    assert found["exact_match"].compute().item() == pytest.approx(2 / 3)


def test_what_is_predicted_is_the_likeliest_token() -> None:
    model = Model().eval()
    _, metrics = Seq2seq().build(SITE)(model, BATCH)
    assert torch.equal(metrics["predicted"], model.logits().argmax(-1))
