"""The recipe that hides bytes learns to tell them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import blueprint as bp
from tests.conftest import ROOT


@pytest.mark.slow
def test_hidden_bytes_are_told_far_better_than_by_their_frequency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    run = bp.fit(bp.load(ROOT / "specs" / "recipes" / "masked.yaml"), tmp_path / "run", progress=False)
    found, seconds = run.summary, time.monotonic() - began
    with capsys.disabled():
        print(
            f"\nmasked bytes of Python: {found['validation_loss']:.2f} nats held out, "
            f"unigram {found['unigram_loss']:.2f}, in {seconds:.0f} s"
        )
    assert found["validation_loss"] < found["unigram_loss"] - 0.5
