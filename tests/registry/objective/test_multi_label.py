"""Several labels a text: the loss against the transformers library's, and labels from a file to a batch."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
from blueprint.component import Site
from blueprint.training.error import TrainError
from blueprint.training.scores import score, scores
from blueprint.training.task import Text, prepare
from blueprint_registry.objective.multi_label import MultiLabel
from tests.registry.objective.test_margins import Fixed

SITE = Site(d_model=8, width=8, extra={"classes": 3})
LABELS = torch.tensor([[1.0, 0, 1], [0, 0, 0], [math.nan] * 3, [0, 1, 0]])
COUNTED = [0, 1, 3]


def batch() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.zeros(4, 2, dtype=torch.long), "labels": LABELS}


@pytest.mark.parametrize("weight", [1.0, 3.0, [3.0, 1.0, 0.5]])
@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_loss_that_transformers_takes(train: bool, weight: Any) -> None:
    from transformers.loss.loss_utils import ForSequenceClassificationLoss

    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    loss, metrics = MultiLabel(positive_weight=weight).build(SITE)(Fixed(logits).train(train), batch())
    config = SimpleNamespace(problem_type="multi_label_classification", num_labels=3)
    plain = ForSequenceClassificationLoss(LABELS[COUNTED], logits[COUNTED], config)
    weights = torch.tensor(weight)
    weighed = F.binary_cross_entropy_with_logits(logits[COUNTED], LABELS[COUNTED], pos_weight=weights)
    torch.testing.assert_close(loss, weighed + 0.5 if train else plain)
    assert metrics["tokens"] == 3


def test_scores_are_f1_and_average_precision_of_the_labels() -> None:
    found = scores(MultiLabel().build(SITE))
    logits = torch.tensor([[2.0, -1, -1], [-2, 1, -1], [9, 9, 9], [-2, 1, 1]])
    _, metrics = MultiLabel().build(SITE)(Fixed(logits).eval(), batch())
    score(found, metrics, batch())
    # Of three labels two are found, and two are told that are none: label by label 1, 2/3 and 0.
    assert found["micro_f1"].compute().item() == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert found["macro_f1"].compute().item() == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert 0 < found["average_precision"].compute().item() < 1
    assert scores(MultiLabel().build(Site(d_model=8, width=8))) == {}


SPEC = """
model:
  type: encoder
  d_model: 32
  layers: 1
  max_length: 32
  block: {attention: {heads: 2}}
  head: {type: classification, labels: 3, over: mean}
tokenizer: byte
data: {source: {type: multi_labelled, path: PATH}, batch_size: 16, validation: 0.2}
objective: multi_label
optimizer: {type: adamw, lr: 1e-2}
trainer: {max_steps: 60, accelerator: cpu}
"""
ROWS = {"one": ["b", "a"], "two": [], "three": ["b"], "four": ["a", "b", "c"]}


def prepared(tmp_path: Path, *overrides: str) -> Text:
    (tmp_path / "a.tsv").write_text("".join(f"{text}\t{', '.join(labels)}\n" for text, labels in ROWS.items()))
    spec = bp.loads(SPEC.replace("PATH", str(tmp_path / "a.tsv")), overrides=list(overrides))
    return prepare(spec, cache=tmp_path / "cache", progress=False)


@pytest.mark.parametrize("stages", ["null", "[unicode, {type: word_dropout, share: 0.5}]"])
def test_labels_come_through_also_past_stages(tmp_path: Path, stages: str) -> None:
    text = prepared(tmp_path, f"data.stages={stages}", "model.head.labels=5")
    found = {
        bytes(row["input_ids"][row["attention_mask"]][:-1].tolist()).decode(): row["labels"].tolist()
        for samples in (text.train, text.validation)
        for row in (samples[n] for n in range(len(samples)))
    }
    wanted = {said: [float(name in labels) for name in "abc"] + [0, 0] for said, labels in ROWS.items()}
    assert {said: found[said] for said in wanted} == wanted
    assert all(map(math.isnan, text.validation[-1]["labels"]))
    assert text.unit == "sample"


def test_more_labels_than_outputs_are_refused_once_they_are_known(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="3 labels, but the model's head tells 2 apart; they are a, b, c"):
        prepared(tmp_path, "model.head.labels=2")


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        (
            ("objective: multi_label", "objective: {type: multi_label, positive_weight: [1, 2]}"),
            "lists 2 weights for 3",
            11,
        ),
        (("objective: multi_label", "objective: classification"), "gives multi_labelled", 10),
        (("path: PATH", "path: PATH, labels: [a, b, c, d]"), "the model's head tells 3 apart", 8),
        (("path: PATH", "path: PATH, labels: [a, a]"), "each once", 10),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(
    change: tuple[str, str], message: str, line: int
) -> None:
    with pytest.raises(bp.SpecError, match=message) as refused:
        bp.loads(SPEC.replace(*change))
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_it_learns_which_letters_a_text_has(tmp_path: Path) -> None:
    drawn = random.Random(0)
    texts = ["".join(drawn.choices("abcxyz", k=drawn.randint(1, 8))) for _ in range(300)]
    lines = [json.dumps({"text": text, "has": [name for name in "abc" if name in text]}) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    said = SPEC.replace("PATH", f"{tmp_path / 'a.jsonl'}, text: text, label: has")
    run = bp.fit(bp.loads(said), tmp_path / "run", progress=False)
    assert run.summary["scores"]["micro_f1"] >= 0.9
    assert run.summary["scores"]["average_precision"] >= 0.9
