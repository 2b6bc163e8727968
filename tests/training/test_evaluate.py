"""Measuring a run on other data than its own."""

from __future__ import annotations

from pathlib import Path

import pytest

import blueprint as bp
from blueprint.training.error import TrainError
from blueprint.training.evaluate import evaluate
from tests.training.conftest import LABELLED, MakeSpec

STEPS = ("trainer.max_steps=1", "schedule.warmup_steps=0")


@pytest.fixture
def classifier(make_spec: MakeSpec, tmp_path: Path) -> Path:
    bp.fit(make_spec(*LABELLED, *STEPS), tmp_path / "run", progress=False)
    return tmp_path / "run"


def rows(path: Path, *rows: tuple[str, str]) -> str:
    path.write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    return f"data.source.path={path}"


def test_all_of_another_file_is_measured_by_the_labels_of_the_first(classifier: Path, tmp_path: Path) -> None:
    (low, high) = sorted(
        {line.split("\t")[1] for line in (Path(__file__).parent / "labelled.tsv").read_text().split("\n") if line}
    )
    texts = [f"the model is data {number}" for number in range(7)]
    of_low = evaluate(classifier, [rows(tmp_path / "low.tsv", *((text, low) for text in texts))])
    of_high = evaluate(classifier, [rows(tmp_path / "high.tsv", *((text, high) for text in texts))])
    assert of_low["tokens"] == of_high["tokens"] == 7
    assert of_low["whole"]
    # Alone, the only label of a file would be number 0.
    assert of_low["scores"]["accuracy"] + of_high["scores"]["accuracy"] == pytest.approx(1)
    assert of_low["nats"] != of_high["nats"]


def test_a_label_that_the_run_does_not_know_is_refused(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the label 'new' is none of"):
        evaluate(classifier, [rows(tmp_path / "new.tsv", ("a text", "new"), ("another", "new"))])


def test_only_data_may_change(classifier: Path) -> None:
    with pytest.raises(TrainError, match=r"`seed` cannot change in what is measured"):
        evaluate(classifier, ["seed=3"])


def test_other_running_text_is_measured_to_its_last_document(make_spec: MakeSpec, tmp_path: Path) -> None:
    bp.fit(make_spec("data.packing=single", *STEPS), tmp_path / "run", progress=False)
    (tmp_path / "a.txt").write_text("abcdefg")
    (tmp_path / "b.txt").write_text("hijk")
    found = evaluate(tmp_path / "run", [f"data.source.path=[{tmp_path}/a.txt, {tmp_path}/b.txt]"])
    assert found["tokens"] == 7 + 4  # the ends are told, too, the first bytes are not
    assert found["bits_per_byte"] == pytest.approx(found["nats"] * (8 + 5) / (7 + 4) / 0.6931471805599453)
    assert found["unigram_nats"] is None
    own = evaluate(tmp_path / "run", ["data.batch_size=2"])
    assert not own["whole"]
    assert own["unigram_nats"] is not None
