"""Binary cross-entropy and the hinge against their formulas, written out sample by sample."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.component import Site
from blueprint.training.error import TrainError
from blueprint.training.scores import score, scores
from blueprint.training.task import prepare
from blueprint_registry.objective.binary import Binary
from blueprint_registry.objective.hinge import Hinge
from tests.registry.objective.test_classification import Out

SITE = Site(d_model=8, width=8)


class Fixed(torch.nn.Module):
    """A model that gives the same outputs whatever it is asked."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, input_ids: torch.Tensor) -> Out:
        return Out(self.logits, {"a_loss": torch.tensor(0.5)})


def batch(labels: list[int]) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.zeros(len(labels), 3, dtype=torch.long), "labels": torch.tensor(labels)}


@pytest.mark.parametrize("train", [True, False])
def test_binary_is_the_logistic_loss(train: bool) -> None:
    z, y = [0.3, -1.2, 2.0, 0.7], [1, 0, -100, 0]
    model = Fixed(torch.tensor(z)[:, None]).train(train)
    loss, metrics = Binary(positive_weight=3.0).build(SITE)(model, batch(y))
    weight = 3.0 if train else 1.0
    each = [
        -weight * math.log(1 / (1 + math.exp(-a))) if b == 1 else -math.log(1 - 1 / (1 + math.exp(-a)))
        for a, b in zip(z, y, strict=True)
        if b >= 0
    ]
    wanted = sum(each) / 3
    assert loss.item() == pytest.approx(wanted + (0.5 if train else 0), rel=1e-5)
    assert metrics["loss"].item() == pytest.approx(wanted, rel=1e-5)
    assert metrics["tokens"] == 3
    if not train:
        assert metrics["predicted"].tolist() == [1, 0, 1, 1]
        found = scores(Binary().build(SITE))
        score(found, metrics, batch(y))
        assert found["accuracy"].compute().item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("squared", [True, False])
def test_the_hinge_is_what_the_right_class_lacks_of_the_margin(squared: bool) -> None:
    z = [[1.0, 0.2, -1.0], [0.0, 0.5, 0.25], [3.0, 0.0, 0.0], [9.0, 9.0, 9.0]]
    y = [0, 2, 0, -100]
    loss, metrics = Hinge(margin=1.0, squared=squared).build(SITE)(Fixed(torch.tensor(z)).eval(), batch(y))
    lacks = [
        max(0.0, 1 + max(v for c, v in enumerate(row) if c != k) - row[k]) for row, k in zip(z, y[:3], strict=False)
    ]
    assert lacks == pytest.approx([0.2, 1.25, 0.0])
    assert loss.item() == pytest.approx(sum(v**2 if squared else v for v in lacks) / 3)
    assert metrics["predicted"].tolist()[:3] == [0, 1, 0]


@pytest.mark.parametrize(("objective", "outputs"), [(Binary(), 1), (Hinge(), 3)])
def test_a_batch_without_labels_that_count_is_zero_and_has_gradients(objective: Any, outputs: int) -> None:
    model = Fixed(torch.randn(2, outputs)).eval()
    loss, metrics = objective.build(SITE)(model, batch([-100, -100]))
    loss.backward()
    assert (loss.item(), int(metrics["tokens"])) == (0, 0)
    assert model.logits.grad is not None
    assert not model.logits.grad.any()


SPEC = """
model:
  type: encoder
  d_model: 32
  layers: 1
  max_length: 32
  block: {attention: {heads: 2}}
  head: {type: classification, labels: OUTPUTS}
tokenizer: byte
data: {source: {type: labelled, path: PATH, labels: LABELS}}
objective: OBJECTIVE
"""


def loaded(objective: str, outputs: int, labels: str, path: Path = Path("a.tsv")) -> bp.Spec:
    said = SPEC.replace("OUTPUTS", str(outputs)).replace("OBJECTIVE", objective).replace("PATH", str(path))
    return bp.loads(said.replace("LABELS", labels))


@pytest.mark.parametrize(
    ("objective", "outputs", "labels", "line", "message"),
    [
        ("binary", 2, "[a, b]", 8, "reads one output, and the model's head gives 2"),
        ("binary", 1, "[a, b, c]", 11, "tells two labels apart, and the data has 3"),
        ("hinge", 1, "[a, b]", 8, "the model's head gives one"),
        ("hinge", 2, "[a, b, c]", 8, "the model's head tells 2 apart"),
    ],
)
def test_labels_and_outputs_must_fit(objective: str, outputs: int, labels: str, line: int, message: str) -> None:
    with pytest.raises(bp.SpecError, match=message) as refused:
        loaded(objective, outputs, labels)
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_labels_that_are_found_only_by_reading_must_fit_too(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\tx\ntwo\ty\nthree\tz\n")
    with pytest.raises(TrainError, match=r"tells two labels apart, and the data has 3; they are x, y, z"):
        prepare(loaded("binary", 1, "null", tmp_path / "a.tsv"), cache=tmp_path / "cache", progress=False)
