"""What the objectives beyond the next token are there for: a recipe that reverses words, and digits told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blueprint as bp
from blueprint.training.evaluate import evaluate
from blueprint.training.task import prepare
from tests.conftest import ROOT

DIGITS = """
name: digits
model:
  type: encoder
  d_model: 64
  layers: 2
  max_length: 64
  block: {attention: {heads: 4, position: none}, feed_forward: {type: gated, d_ff: 128}}
  embedding: {positions: learned}
  head: {type: classification, labels: 10, over: mean}
tokenizer: byte
data: {source: {type: labelled, path: digits.tsv}, batch_size: 32, validation: 0.2}
objective: classification
optimizer: {type: adamw, lr: 2e-3}
schedule: {type: wsd, warmup_steps: 20, decay: 0.5}
trainer: {max_steps: 600, accelerator: cpu, gradient_clip_val: 1.0}
"""


def greedy(model: Any, source: torch.Tensor, keep: torch.Tensor, start: int, end: int, most: int) -> list[list[int]]:
    """What the decoder writes for every source, the likeliest token each time, up to its end."""
    ids = torch.full((len(source), 1), start)
    for _ in range(most):
        logits = model(source, keep, decoder_input_ids=ids).logits[:, -1]
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    rows = [row.tolist() for row in ids[:, 1:]]
    return [row[: row.index(end)] if end in row else row for row in rows]


@pytest.mark.slow
def test_the_recipe_reverses_every_word_that_was_held_out(tmp_path: Path) -> None:
    spec = bp.load(ROOT / "specs" / "recipes" / "reverse.yaml", ["trainer.accelerator=cpu"])
    run = bp.fit(spec, tmp_path / "run", progress=False)
    assert run.summary["scores"]["exact_match"] == 1
    found = evaluate(tmp_path / "run")
    assert found["scores"] == {"accuracy": 1, "exact_match": 1}
    assert found["unigram_nats"] is None
    model, samples = bp.restore(tmp_path / "run"), prepare(spec, progress=False).validation
    rows = [samples[n] for n in range(len(samples))]
    source, keep = (torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("input_ids", "attention_mask"))
    with torch.inference_mode():
        written = greedy(model.eval(), source, keep, 256, 256, 12)
    read = [row[mask][:-1].tolist() for row, mask in zip(source, keep, strict=True)]
    assert written == [list(reversed(word)) for word in read]
    assert len(read) > 200


@pytest.mark.slow
def test_digits_written_as_text_are_told_apart(tmp_path: Path) -> None:
    """Each of the 64 pixels of a digit one of five letters: 95 % of the held-out ones."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    rows = ["".join("abcde"[int(value) // 4] for value in image) for image in digits.data]
    text = "".join(f"{row}\t{label}\n" for row, label in zip(rows, digits.target, strict=True))
    (tmp_path / "digits.tsv").write_text(text)
    (tmp_path / "digits.yaml").write_text(DIGITS)
    run = bp.fit(bp.load(tmp_path / "digits.yaml"), tmp_path / "run", progress=False)
    assert run.summary["scores"]["accuracy"] >= 0.95
    assert evaluate(tmp_path / "run")["scores"]["accuracy"] >= 0.95
