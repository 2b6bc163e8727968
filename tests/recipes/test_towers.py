"""Two towers that learned texts of digits tell digits apart that they never saw."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import blueprint as bp
from blueprint.training.evaluate import evaluate
from tests.conftest import ROOT
from tests.recipes.digits import write


@pytest.mark.slow
def test_digits_are_told_apart_by_their_written_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits, began = write(tmp_path / "digits"), time.monotonic()
    spec = bp.load(
        ROOT / "specs" / "recipes" / "towers.yaml", [f"data.source.path={digits}", "trainer.accelerator=cpu"]
    )
    run = bp.fit(spec, tmp_path / "run", progress=False)
    found = evaluate(tmp_path / "run")["scores"]
    with capsys.disabled():
        print(
            f"\ndigits told apart by their names: {found['zero_shot']:.1%} of those held out, in the batch "
            f"{found['image_to_text']:.1%} of texts and {found['text_to_image']:.1%} of images, "
            f"in {time.monotonic() - began:.0f} s"
        )
    assert found["zero_shot"] >= 0.8
    assert run.summary["scores"]["zero_shot"] == pytest.approx(found["zero_shot"])
