"""What a model writes for held-out sources: for those, as it would alone, scored against their own texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import blueprint as bp
from blueprint.inference.generate import generate
from blueprint.inference.text import source_ids
from blueprint.schema.writing import Writing
from blueprint.training.evaluate import evaluate
from blueprint.training.task import Text, prepare
from blueprint.training.written import held_out, write
from tests.cli.conftest import Blueprint, blueprint  # noqa: F401

SPEC = """
model: {type: encoder_decoder, d_model: 32, layers: 1, max_length: 24, block: {attention: {heads: 2}}}
tokenizer: {type: bpe, vocab_size: 80, normalization: [lowercase]}
data:
  source: {type: pairs, path: pairs.tsv}
  stages: [{type: length, most: 40}]
  length: 24
  batch_size: 4
  validation: 0.3
writing: {documents: 5}
optimizer: {type: adamw, lr: 3e-3}
trainer: {max_steps: 3, accelerator: cpu}
sample: null
"""
WORDS = ("Open", "the", "FILE", "closes", "Never", "again", "Node")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pairs of words and the same words in capitals, some of them too long to be kept."""
    monkeypatch.chdir(tmp_path)
    drawn = np.random.default_rng(0)
    rows = [" ".join(drawn.choice(WORDS, size=drawn.integers(1, 12))) + f" {n}" for n in range(60)]
    (tmp_path / "pairs.tsv").write_text("".join(f"{row}\t{row.upper()}\n" for row in rows))
    return tmp_path


def prepared(folder: Path, *overrides: str) -> Text:
    return prepare(bp.loads(SPEC, overrides=list(overrides)), cache=folder / "cache", progress=False)


def test_the_texts_of_what_was_held_out_come_as_they_were_given_and_always_the_same_lot(folder: Path) -> None:
    text = prepared(folder)
    split = text.tokens.validation
    names = [split.document_name(number) for number in range(split.documents)]
    read = {
        f"{folder}/pairs.tsv:{n}": row.split("\t")
        for n, row in enumerate(Path("pairs.tsv").read_text().splitlines(), 1)
    }
    every = held_out(text, 1000)
    assert [each.name for each in every] == names
    assert [[each.source, each.wanted] for each in every] == [read[name] for name in names]
    assert any(each.source != each.source.lower() for each in every), "the tokenizer's own loss would not show"
    few = held_out(text, 5)
    assert len(few) == 5
    assert few == held_out(text, 5)
    assert set(few) < set(every)
    assert few != every[:5]


@pytest.mark.parametrize("beams", [1, 3])
def test_each_source_is_written_for_as_it_would_be_alone(folder: Path, beams: int) -> None:
    text = prepared(folder)
    model = cast(Any, bp.build(text.spec))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    written = write(model, text, Writing(scores=["bleu"], documents=7, beams=beams), batch_size=3, progress=False)
    tokenizer = cast(Any, text.tokenizer)
    said: dict[str, Any] = {"temperature": 0} if beams == 1 else {"num_beams": beams}
    for each in written.triples:
        ids = torch.tensor([source_ids(tokenizer, each.source)[:24]])
        start = text.spec.objective.start_id(tokenizer)  # type: ignore[union-attr]
        new = generate(model, ids, 23, start_id=start, eos_id=tokenizer.eos_id, **said)
        row = new[0, 1:].tolist()
        row = row[: row.index(tokenizer.eos_id)] if tokenizer.eos_id in row else row
        assert each.written == tokenizer.decode(row)


def test_the_end_of_a_run_and_evaluation_tell_the_same_beside_copies_of_the_sources(
    folder: Path,
    blueprint: Blueprint,  # noqa: F811
) -> None:
    spec = bp.loads(SPEC)
    run = bp.fit(spec, folder / "run", progress=False, cache=folder / "cache")
    found = run.summary["writing"]
    assert found["documents"] == 5
    lines = [json.loads(line) for line in (folder / "run" / "written.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    assert found["examples"][0] == lines[0]
    for name, score in zip(("bleu", "chrf"), spec.writing.all_scores, strict=True):  # type: ignore[union-attr]
        count = score.build(bp.plan(spec).site)
        wanted = [each["wanted"] for each in lines]
        for what, key in (("written", "written"), ("copied", "source")):
            assert found["scores"][name][what] == pytest.approx(count([each[key] for each in lines], wanted))
    assert "chrF" in run.report()

    again = evaluate(run.folder, cache=folder / "cache")["writing"]
    assert again == found | {"beams": 1}
    more = evaluate(run.folder, cache=folder / "cache", documents=9, beams=2, out=folder / "all.jsonl")["writing"]
    assert (more["documents"], more["beams"]) == (9, 2)
    assert len((folder / "all.jsonl").read_text().splitlines()) == 9
    assert evaluate(run.folder, cache=folder / "cache", documents=0)["writing"] is None


def test_the_command_shows_scores_and_triples(
    folder: Path,
    blueprint: Blueprint,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(folder / "cache"))
    run = bp.fit(bp.loads(SPEC, overrides=["writing=null"]), folder / "run", progress=False)
    assert run.summary["writing"] is None
    refused = blueprint("evaluate", run.folder, "--documents", 3)
    assert refused.code == 1
    assert "the spec has no `writing`" in refused.err
    assert blueprint("evaluate", run.folder, "--json").json["writing"] is None

    resumed = bp.resume(run.folder, ["writing={documents: 4}", "trainer.max_steps=4"], progress=False)
    assert resumed.summary["writing"]["documents"] == 4
    shown = blueprint("evaluate", run.folder, "--beams", 2)
    assert shown.code == 0, shown.err
    assert "written for 4 of" in shown.out
    assert "by 2 beams" in shown.out
    assert shown.out.count("\nwanted ") == 4


def test_a_library_that_is_missing_is_told_before_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from blueprint.training.error import TrainError

    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(TrainError, match=r"writing.scores `bleu`: .*blueprint-lightning\[scores\]"):
        bp.fit(bp.loads(SPEC), folder / "run", progress=False, cache=folder / "cache")
    assert not (folder / "run" / "checkpoints").exists()
