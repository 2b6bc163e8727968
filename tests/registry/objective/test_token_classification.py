"""Classes of words: the loss against the transformers library's, and labels on their way from a file to a batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import blueprint as bp
from blueprint.component import Site
from blueprint.training.scores import score, scores
from blueprint.training.task import prepare
from blueprint_registry.objective.token_classification import TokenClassification
from tests.registry.objective.test_margins import Fixed

SITE = Site(d_model=8, width=8, extra={"classes": 4})
LABELS = torch.tensor([[2, -100, 0], [3, 1, -100], [-100, -100, -100]])


def batch(labels: Tensor) -> dict[str, Tensor]:
    return {"input_ids": torch.zeros(labels.shape, dtype=torch.long), "labels": labels}


@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_loss_that_transformers_takes(train: bool) -> None:
    from transformers.loss.loss_utils import ForTokenClassification

    logits = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0))
    loss, metrics = TokenClassification().build(SITE)(Fixed(logits).train(train), batch(LABELS))
    wanted = ForTokenClassification(logits, LABELS, SimpleNamespace(num_labels=4))
    torch.testing.assert_close(metrics["loss"], wanted)
    torch.testing.assert_close(loss, wanted + (0.5 if train else 0))  # a part of the model has a loss of its own
    assert metrics["tokens"] == 4
    smooth, told = TokenClassification(label_smoothing=0.5).build(SITE)(Fixed(logits).train(train), batch(LABELS))
    assert torch.equal(smooth, loss) is not train
    assert torch.equal(told["loss"], metrics["loss"]) is not train


def test_scores_count_words_alone_and_classes_alike() -> None:
    predicted = torch.tensor([[2, 3, 0], [1, 1, 0], [0, 0, 0]])
    found = scores(TokenClassification().build(SITE))
    score(found, {"predicted": predicted}, batch(LABELS))
    assert found["accuracy"].compute().item() == pytest.approx(3 / 4)
    # Right throughout: 0 and 2; class 1 is told twice and right once, class 3 never found.
    assert found["macro_f1"].compute().item() == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)


def test_rows_that_only_fill_a_batch_are_zero_and_give_gradients() -> None:
    model = Fixed(torch.randn(1, 3, 4)).eval()
    loss, metrics = TokenClassification().build(SITE)(model, batch(torch.full((1, 3), -100)))
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
  head: {type: token_classification, labels: 3}
tokenizer: byte
data: {source: {type: tagged, path: PATH}, length: 12, batch_size: 2}
objective: {type: token_classification, token: TOKEN}
"""
DATA = SPEC[SPEC.index("data:") : -1].replace("TOKEN", "first")
SENTENCES = "we\tA\nsee\tB\n\nice\tC\nà\tB\nlonger\tA\n"


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("first", {"w": 0, "s": 1, "i": 2, "Ã": 1, "l": 0}),
        ("last", {"e": 0, "E": 1, "c": 2, "\xa0": 1}),
        ("all", None),
    ],
)
def test_labels_come_through_at_the_tokens_that_were_asked_for(
    token: str, wanted: dict[str, int] | None, tmp_path: Path
) -> None:
    (tmp_path / "a.conll").write_text(SENTENCES.replace("see", "sEE").replace("ice", "ic"))
    said = SPEC.replace("PATH", str(tmp_path / "a.conll")).replace("TOKEN", token)
    text = prepare(bp.loads(said), cache=tmp_path / "cache", progress=False)
    found: dict[str, int] = {}
    counted = 0
    for samples in (text.train, text.validation):
        for n in range(len(samples)):
            row = samples[n]
            assert (row["labels"][~row["attention_mask"]] == -100).all()
            for read, label in zip(row["input_ids"], row["labels"], strict=True):
                counted += label >= 0
                found |= {chr(read): int(label)} if label >= 0 else {}
    # 12 bytes of the longer sentence are read: "ic à longer" and its end; in UTF-8 à has two bytes.
    if wanted is None:
        assert counted == 2 + 3 + 2 + 2 + 6
        assert "32" not in found
    else:
        assert found == wanted | ({"r": 0} if token == "last" else {})
    assert (text.unit, text.measure) == ("word", "nats")
    assert (text.validation[-1]["labels"] == -100).all()


TRAIN = SPEC.replace("TOKEN", "last").replace("length: 12, batch_size: 2", "batch_size: 16, validation: 0.2") + (
    "optimizer: {type: adamw, lr: 1e-2}\ntrainer: {max_steps: 60, accelerator: cpu}\n"
)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_either_kind_of_model_learns_to_tag(kind: str, tmp_path: Path) -> None:
    """The words' kinds follow from their letters: numbers, small letters, capitals."""
    import random

    drawn = random.Random(0)
    letters = {"NUMBER": "0123456789", "SMALL": "abcdefgh", "CAPITAL": "ABCDEFGH"}
    lines = []
    for _ in range(200):
        for kind_of in drawn.choices(list(letters), k=drawn.randint(1, 6)):
            lines.append(f"{''.join(drawn.choices(letters[kind_of], k=drawn.randint(1, 4)))} {kind_of}")
        lines.append("")
    (tmp_path / "a.txt").write_text("\n".join(lines))
    said = TRAIN.replace("PATH", str(tmp_path / "a.txt")).replace("type: encoder", f"type: {kind}")
    run = bp.fit(bp.loads(said), tmp_path / "run", progress=False)
    assert run.summary["scores"]["accuracy"] >= 0.95
    assert run.summary["scores"]["macro_f1"] >= 0.95


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        (("token_classification, labels: 3", "classification, labels: 3"), "needs the class of every token", 11),
        ((DATA, "objective: causal"), "needs an output for every token", 10),
        (("type: tagged", "type: labelled"), "reads tagged", 10),
        (("path: PATH", "path: PATH, labels: [a, b, c, d]"), "the model's head tells 3 apart", 8),
        (("labels: 3}", "labels: d_model / 16}\nname: NAMES"), "3 labels, but the model's head tells 2 apart", 8),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(
    change: tuple[str, str], message: str, line: int
) -> None:
    said = SPEC.replace("TOKEN", "first").replace(*change).replace("type: encoder", "type: decoder")
    said = said.replace("PATH", "a.txt, labels: [a, b, c]" if "NAMES" in said else "a.txt")
    with pytest.raises(bp.SpecError, match=message) as refused:
        bp.loads(said)
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_a_decoder_that_tags_says_nothing_of_an_objective_and_writes_no_text() -> None:
    spec = bp.loads(SPEC.split("data:")[0].replace("type: encoder", "type: decoder"))
    assert (spec.objective, spec.sample) == (None, None)
    with pytest.raises(ValueError, match="does not continue text: its head gives the class of every token"):
        bp.generate(bp.build(spec), torch.zeros(1, 2, dtype=torch.long))
