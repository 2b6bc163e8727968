"""Samples of models that read a source: the prompt is the source, and the target begins as it does in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.training.callbacks import sample
from blueprint.training.error import TrainError
from blueprint.training.run import fit

SPEC = """
model:
  type: encoder_decoder
  d_model: 32
  layers: 1
  max_length: 12
  block: {attention: {heads: 2}}
tokenizer: byte
data: {source: {type: reversal, count: 200, length: 6}, batch_size: 8, validation: 0.2}
objective: seq2seq
trainer: {max_steps: 2, limit_val_batches: 1, accelerator: cpu}
"""


def spec(*overrides: str) -> bp.Spec:
    return bp.loads(SPEC, overrides=list(overrides))


def test_a_sample_is_a_source_and_what_is_written_for_it(tmp_path: Path) -> None:
    said = spec("sample={prompt: lager, tokens: 9, temperature: 0, every_n_steps: 2}")
    fit(said, tmp_path / "run", progress=False)
    model = bp.restore(tmp_path / "run")
    source = torch.tensor([[*b"lager", 256]])
    ids = bp.generate(model, source, 9, temperature=0, eos_id=256)[0]
    assert ids[0] == 256
    assert said.tokenizer is not None and said.sample is not None
    shown = f"lager → {said.tokenizer.decode(ids.tolist())}"  # type: ignore[attr-defined]
    assert (tmp_path / "run" / "samples.txt").read_text() == f"=== step 2 ===\n{sample.indented(shown)}\n\n"
    assert sample.draw(model, said.tokenizer, said.sample, seed=2, start_id=256) == shown


def test_each_side_has_room_of_its_own() -> None:
    said = spec("sample={prompt: elevenchars, tokens: 50}")
    assert said.sample is not None
    ids, room = sample.prompt(bp.build(said), said.tokenizer, said.sample, 256)
    assert (len(ids), room) == (12, 11)


def test_a_source_without_room_shows_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"`sample\.prompt` takes 17 tokens, .* source's max_length of 12"):
        fit(spec("sample={prompt: more than eleven}"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "spec.yaml").exists()


def test_a_start_that_nothing_says_is_told() -> None:
    said = spec("sample={prompt: abc}")
    assert said.sample is not None
    with pytest.raises(TrainError, match="nothing says which id a target begins with"):
        sample.prompt(bp.build(said), said.tokenizer, said.sample)
