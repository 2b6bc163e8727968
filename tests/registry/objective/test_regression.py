"""Regression against its formula, and numbers on their way from a file to a batch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import blueprint as bp
from blueprint.training.scores import score, scores
from blueprint.training.task import Text, prepare
from blueprint_registry.objective.regression import Regression
from tests.registry.objective.test_margins import SITE, Fixed

NUMBERS = [1.5, -100.0, 0.1, 2e6]
SPEC = """
model:
  type: encoder
  d_model: 32
  layers: 1
  max_length: 32
  block: {attention: {heads: 2}}
  head: {type: classification, labels: OUTPUTS}
tokenizer: byte
data: {source: {type: scored, path: PATH}, batch_size: 3}
objective: regression
"""


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("error", ["squared", "absolute"])
def test_it_is_the_mean_error(error: str, train: bool) -> None:
    z, y = [0.3, -1.2, 2.0, 0.7], [1.0, -100.0, math.nan, 0.5]
    off = [a - b for a, b in zip(z, y, strict=True) if not math.isnan(b)]
    wanted = sum(a * a if error == "squared" else abs(a) for a in off) / 3
    batch = {"input_ids": torch.zeros(4, 3, dtype=torch.long), "labels": torch.tensor(y)}
    objective = Regression.model_validate({"error": error}).build(SITE)
    loss, metrics = objective(Fixed(torch.tensor(z)[:, None]).train(train), batch)
    assert loss.item() == pytest.approx(wanted + (0.5 if train else 0))
    assert metrics["loss"].item() == pytest.approx(wanted)
    assert metrics["tokens"] == 3
    if not train:
        found = scores(objective)
        score(found, metrics, batch)
        right = np.array([1.0, -100.0, 0.5])
        explained = 1 - np.var(np.array(off)) / np.var(right)
        assert found["explained_variance"].compute().item() == pytest.approx(explained, rel=1e-4)


def prepared(tmp_path: Path, outputs: int = 1) -> Text:
    (tmp_path / "a.tsv").write_text("".join(f"text {n}\t{y}\n" for n, y in enumerate(NUMBERS)))
    said = SPEC.replace("PATH", str(tmp_path / "a.tsv")).replace("OUTPUTS", str(outputs))
    return prepare(bp.loads(said), cache=tmp_path / "cache", progress=False)


def test_numbers_come_through_as_they_are_and_fillers_are_none(tmp_path: Path) -> None:
    text = prepared(tmp_path)
    found = {
        bytes(row["input_ids"][row["attention_mask"]][:-1].tolist()).decode(): float(row["labels"])
        for samples in (text.train, text.validation)
        for row in (samples[n] for n in range(len(samples)))
    }
    assert found == {f"text {n}": float(np.float32(y)) for n, y in enumerate(NUMBERS)}
    assert math.isnan(text.validation[-1]["labels"])
    assert (text.measure, text.unit) == ("error", "sample")


def test_what_is_no_number_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\tmany\nthree\tinf\n")
    said = SPEC.replace("PATH", str(tmp_path / "a.tsv")).replace("OUTPUTS", "1")
    with pytest.raises(ValueError, match=r"2 of 3 rows are malformed.*") as refused:
        prepare(bp.loads(said), cache=tmp_path / "cache", progress=False)
    assert "'many' is no number" in str(refused.value)
    assert "'inf' is not finite" in str(refused.value)


def test_a_head_of_several_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bp.SpecError, match="reads one output, and the model's head gives 2"):
        prepared(tmp_path, outputs=2)
