"""Going on from weights with the tokens that they were learned with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import blueprint as bp
from blueprint.training.error import RestoreError
from tests.training.conftest import LABELLED, MakeSpec

BPE = 'tokenizer={"type": "bpe", "vocab_size": 80, "mask": "<mask>"}'
STEPS = ("trainer.max_steps=1", "schedule.warmup_steps=0")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose tokenizer learned from texts of its own."""
    folder = tmp_path_factory.mktemp("first")
    text = folder / "text"
    text.mkdir()
    for number in range(8):
        (text / f"{number}.txt").write_text(f"one two three four {number} " * 6)
    said = {
        "model": {
            "type": "encoder",
            "d_model": 32,
            "layers": 1,
            "max_length": 32,
            "block": {"attention": {"heads": 2}},
        },
        "tokenizer": {"type": "bpe", "vocab_size": 80, "mask": "<mask>"},
        "data": {"source": {"type": "text", "path": str(text)}, "length": 16, "batch_size": 2, "validation": 0.2},
        "objective": "masked",
        "trainer": {"max_steps": 1, "accelerator": "cpu"},
    }
    bp.fit(bp.load(said), folder / "run", progress=False)
    return folder / "run"


def classifier(make_spec: MakeSpec, first: Path, *more: str) -> bp.Spec:
    parts = "start.parts=[embedding, layers, norm]"
    return make_spec(*LABELLED, BPE, f"start.from={first}", parts, *STEPS, *more)


def test_a_tokenizer_that_would_be_learned_is_the_first_runs(make_spec: MakeSpec, first: Path, tmp_path: Path) -> None:
    bp.fit(classifier(make_spec, first), tmp_path / "run", progress=False)
    files = [json.loads((run / "tokenizer.json").read_text()) for run in (first, tmp_path / "run")]
    assert files[0] == files[1]
    # Alone it learns from its own texts.
    bp.fit(classifier(make_spec, first, "start=null"), tmp_path / "alone", progress=False)
    assert json.loads((tmp_path / "alone" / "tokenizer.json").read_text()) != files[0]


def test_the_tokenizer_may_be_named_as_a_file(make_spec: MakeSpec, first: Path, tmp_path: Path) -> None:
    file = f'tokenizer={{"type": "file", "path": "{first}/tokenizer.json"}}'
    spec = classifier(make_spec, first, file, "model.vocab_size=80")
    assert bp.fit(spec, tmp_path / "run", progress=False).status == "finished"


@pytest.mark.parametrize(
    ("other", "does"),
    [
        ('tokenizer={"type": "words", "vocab_size": 60}', "would learn tokens of its own"),
        ("tokenizer.vocab_size=79", "would learn tokens of its own"),
        ('tokenizer={"type": "byte"}', None),
        ('tokenizer={"type": "file", "path": "OTHER"}', "has other tokens"),
    ],
)
def test_weights_of_other_tokens_are_refused(
    make_spec: MakeSpec, first: Path, tmp_path: Path, other: str, does: str | None
) -> None:
    changed = json.loads((first / "tokenizer.json").read_text())
    *_, one, two = changed["model"]["vocab"]
    changed["model"]["vocab"] |= {one: changed["model"]["vocab"][two], two: changed["model"]["vocab"][one]}
    (tmp_path / "other.json").write_text(json.dumps(changed))
    other = other.replace("OTHER", str(tmp_path / "other.json"))
    rows = "model.vocab_size=80" if does else "model.vocab_size=257"
    spec = classifier(make_spec, first, other, rows)
    with pytest.raises(ValueError, match=does or "of another shape") as caught:
        bp.fit(spec, tmp_path / "run", progress=False)
    if does:
        assert 'tokenizer: {type: bpe, vocab_size: 80, mask: "<mask>", path: ' in str(caught.value)
        layers = classifier(make_spec, first, other, rows, "start.parts=[layers]")
        assert bp.fit(layers, tmp_path / "layers", progress=False).status == "finished"
    assert not (tmp_path / "run" / "spec.yaml").exists()


def test_an_error_says_which_parts_fit(make_spec: MakeSpec, first: Path, tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match=r"not there: head\.(.|\n)*say `start\.parts: \[embedding, layers, norm\]`"):
        bp.fit(classifier(make_spec, first, "start.parts=all"), tmp_path / "run", progress=False)
