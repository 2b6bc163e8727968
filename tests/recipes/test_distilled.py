"""A student that has a teacher beats the same student on labels alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes.compare_students import VARIANTS, draw, train
from tests.recipes.digits import write


@pytest.mark.slow
def test_a_student_of_digits_beats_the_same_on_labels_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits = write(tmp_path / "digits")
    teacher, labels, distilled = (train(variant, 1, digits, tmp_path / "runs") for variant in VARIANTS)
    with capsys.disabled():
        print(
            f"\ndigits held out, right: teacher {teacher.accuracy:.1%}, student on labels {labels.accuracy:.1%}, "
            f"with the teacher {distilled.accuracy:.1%}"
        )
    assert teacher.accuracy >= 0.95
    assert distilled.accuracy >= labels.accuracy + 0.01
    assert distilled.loss < labels.loss


def test_both_students_are_compared_and_drawn(tmp_path: Path) -> None:
    digits = write(tmp_path / "digits")
    few = ["trainer.max_steps=4", "trainer.val_check_interval=2", "schedule=constant"]
    found = [train(variant, 1, digits, tmp_path / "runs", few) for variant in VARIANTS]
    assert found[1].loss != found[2].loss
    assert [train(variant, 1, digits, tmp_path / "runs", few) for variant in VARIANTS] == found
    draw(tmp_path / "picture.png", found)
    assert (tmp_path / "picture.png").stat().st_size > 10_000
