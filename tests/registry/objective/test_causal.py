"""The causal objective against the plain form of its loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.ops import cross_entropy
from blueprint_registry.objective.causal import Causal

SITE = Site(d_model=8, width=8)
IDS = torch.randint(11, (2, 6))
LABELS = torch.randint(11, (2, 6)).index_fill(1, torch.tensor([0, 4]), -100)


@dataclass
class Out:
    hidden: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Model(nn.Module):
    """A model that answers as a decoder does and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.asked: dict[str, Any] = {}

    def forward(self, input_ids: Tensor, *, logits: bool = True, **asked: Any) -> Out:
        self.asked = asked
        assert not logits
        return Out(torch.tanh(self.table(input_ids)))

    def cross_entropy(self, hidden: Tensor, target: Tensor, **options: Any) -> Tensor:
        return cross_entropy(hidden.flatten(0, 1), self.table.weight, target.flatten(), **options)

    def logits(self, ids: Tensor) -> Tensor:
        out: Tensor = (torch.tanh(self.table(ids)) @ self.table.weight.T).flatten(0, 1)
        return out


def loss_of(model: Model, batch: dict[str, Any] | None = None, **said: Any) -> tuple[Tensor, dict[str, Tensor]]:
    found: tuple[Tensor, dict[str, Tensor]] = Causal(**said).build(SITE)(
        model, {"input_ids": IDS, "labels": LABELS, "place": torch.arange(2), **(batch or {})}
    )
    return found


def test_it_is_the_mean_cross_entropy_of_the_labels_that_count() -> None:
    model = Model()
    loss, metrics = loss_of(model)
    torch.testing.assert_close(loss, F.cross_entropy(model.logits(IDS), LABELS.flatten()))
    assert metrics["tokens"] == 8
    assert metrics["loss"] == loss
    assert not metrics["loss"].requires_grad


@pytest.mark.parametrize("train", [True, False])
def test_smoothing_and_z_loss_act_in_training_alone(train: bool) -> None:
    model = Model().train(train)
    loss, _ = loss_of(model, label_smoothing=0.2, z_loss=0.1)
    logits, labels = model.logits(IDS), LABELS.flatten()
    plain = F.cross_entropy(logits, labels)
    z = logits.logsumexp(-1)[labels != -100].square().mean()
    smooth = F.cross_entropy(logits, labels, label_smoothing=0.2) + 0.1 * z
    torch.testing.assert_close(loss, smooth if train else plain)


def test_positions_run_on_through_documents_unless_the_batch_says_them() -> None:
    model, segments = Model(), torch.tensor([[0, 0, 1, 1, 1, 2]]).expand(2, 6)
    loss_of(model, {"segment_ids": segments})
    assert torch.equal(model.asked["position_ids"], torch.arange(6).expand(2, 6))
    restarted = torch.tensor([[0, 1, 0, 1, 2, 0]]).expand(2, 6)
    loss_of(model, {"segment_ids": segments, "position_ids": restarted})
    assert model.asked["position_ids"] is restarted
    loss_of(model)
    assert not model.asked


def test_a_batch_without_labels_that_count_is_zero_and_not_nan() -> None:
    loss, metrics = loss_of(Model(), {"labels": torch.full_like(LABELS, -100)})
    assert loss.item() == 0
    assert metrics["tokens"] == 0
