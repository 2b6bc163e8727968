"""InfoNCE between two views of a text, against its formula written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint_registry.objective.contrastive import Contrastive
from tests.registry.objective.test_classification import Out
from tests.registry.objective.test_margins import SITE

LABELS = torch.tensor([[1, -100], [3, 4], [-100, -100], [5, 6]])
BATCH = {"input_ids": torch.zeros(4, 2, dtype=torch.long), "labels": LABELS}


class Views(torch.nn.Module):
    """A model that answers with the next of the vectors it holds."""

    def __init__(self, *views: torch.Tensor) -> None:
        super().__init__()
        self.views = torch.nn.ParameterList(views)
        self.asked = 0

    def forward(self, input_ids: torch.Tensor) -> Out:
        self.asked += 1
        return Out(self.views[self.asked - 1], {"a_loss": torch.tensor(0.5)})


@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_share_of_the_right_view(train: bool) -> None:
    a, b = (torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    model = Views(a, b).train(train)
    loss, metrics = Contrastive(temperature=0.2).build(SITE)(model, BATCH)
    assert model.asked == (2 if train else 1)
    rows, second = [0, 1, 3], b if train else a
    wanted = 0.0
    for i in rows:
        each = {j: math.exp(torch.cosine_similarity(a[i], second[j], dim=0).item() / 0.2) for j in rows}
        wanted -= math.log(each[i] / sum(each.values())) / 3
    assert metrics["loss"].item() == pytest.approx(wanted, rel=1e-4)
    assert loss.item() == pytest.approx(wanted + (0.5 if train else 0), rel=1e-4)
    assert metrics["tokens"] == 3


def test_a_batch_of_fillers_is_zero() -> None:
    batch = {**BATCH, "labels": torch.full_like(LABELS, -100)}
    loss, metrics = Contrastive().build(SITE)(Views(torch.randn(4, 5)).eval(), batch)
    loss.backward()
    assert (loss.item(), int(metrics["tokens"])) == (0, 0)


SPEC: dict[str, Any] = {
    "model": {
        "type": "encoder",
        "d_model": 32,
        "layers": 1,
        "max_length": 32,
        "block": {"attention": {"heads": 2}},
    },
    "tokenizer": "byte",
    "objective": "contrastive",
}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"type": "classification", "labels": 3}, "compares vectors, and the model's head gives classes"),
        ("language_model", "needs an output for a whole sequence"),
    ],
)
def test_a_head_that_gives_no_vector_is_refused(head: Any, message: str) -> None:
    with pytest.raises(bp.SpecError, match=message):
        bp.load({**SPEC, "model": {**SPEC["model"], "head": head}})


def test_a_pooler_is_taken() -> None:
    assert bp.load({**SPEC, "model": {**SPEC["model"], "head": "pooler"}}).model.pooled
