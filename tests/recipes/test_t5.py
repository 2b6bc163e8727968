"""The recipe that writes what was taken out of a text."""

from __future__ import annotations

from pathlib import Path

import pytest

import blueprint as bp
from tests.conftest import ROOT
from tests.recipes.examples import example

SMALL = ["data.source=stdlib", "model.d_model=64", "model.layers=2", "model.block.feed_forward.d_ff=160"]
TEXT = "import os<extra_id_0>import sys\n\n\ndef <extra_id_1>(self):"


def test_what_is_written_stands_where_the_sentinels_were() -> None:
    span = example("fill").span
    target = [7, 20, 21, 8, 9, 22, 1]
    assert [span(target, each, (7, 8, 9)) for each in (7, 8, 9)] == [[20, 21], [], [22, 1]]
    assert span([8, 3], 7, (7, 8)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_gaps_are_filled_far_better_than_by_frequency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [*SMALL, "tokenizer.vocab_size=2048", "trainer.max_steps=400", "trainer.val_check_interval=null"]
    run = bp.fit(bp.load(ROOT / "specs" / "recipes" / "t5.yaml", said), tmp_path / "run", progress=False)
    filled = example("fill").written(bp.restore(tmp_path / "run"), TEXT)
    with capsys.disabled():
        loss, baseline = run.summary["validation_loss"], run.summary["unigram_loss"]
        print(f"\n{loss:.2f} nats a token of what was taken out, unigram {baseline:.2f}; {filled!r}")
    assert loss < baseline - 0.8
    assert filled.startswith("import os")
    assert "extra_id" not in filled
    assert filled.endswith("(self):")
