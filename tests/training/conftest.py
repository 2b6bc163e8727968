"""A small text, and a spec so small that a run takes a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import blueprint as bp

WORDS = ("the", "spec", "is", "model", "run", "data", "norm", "head", "layer", "token")

SPEC = """
name: tiny
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 32
  block: {attention: {heads: 2}, dropout: 0.1}
tokenizer: byte
data: {source: {type: text, path: TEXT}, length: 16, batch_size: 8, validation: 0.2}
optimizer: {type: adamw, lr: 3e-3}
schedule: {type: cosine, warmup_steps: 2}
trainer: {max_steps: 8, limit_val_batches: 2, log_every_n_steps: 1, accelerator: cpu}
checkpoint: {every_n_steps: 1, keep: 100}
sample: null
"""

_SMALL = ("model.d_model=32", "model.layers=1", "model.max_length=32", "model.block.attention.heads=2")
#: The small spec on pairs of texts, and on labelled ones.
PAIRS = (
    *("model.type=encoder_decoder", *_SMALL, "model.block.dropout=0.1", "objective=seq2seq"),
    *("data.source.type=reversal", "data.source.count=40", "data.source.length=6", "data.length=8"),
)
LABELLED = (
    *("model.type=encoder", *_SMALL, "model.block.dropout=0.1", "objective=classification"),
    *("model.head.type=classification", "model.head.labels=2"),
    *("data.source.type=labelled", f"data.source.path={Path(__file__).parent / 'labelled.tsv'}"),
)

MakeSpec = Callable[..., "bp.Spec"]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short documents: an epoch of four batches."""
    folder, drawn = tmp_path_factory.mktemp("text"), random.Random(0)
    for number in range(12):
        words = " ".join(drawn.choice(WORDS) for _ in range(16))
        (folder / f"{number:02d}.txt").write_text(f"{words} {number}\n")
    return folder


@pytest.fixture
def make_spec(text: Path) -> MakeSpec:
    """The small spec with overrides."""
    return lambda *overrides: bp.loads(SPEC.replace("TEXT", str(text)), overrides=list(overrides))
