"""The recipe with byte pairs: for as much computing it takes fewer bits for a byte than its twin that reads bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from tests.recipes.compare_causal import NAMES, RECIPES, computing


def test_the_twins_cost_as_much() -> None:
    pieces, bytes_ = (computing(bp.load(RECIPES / name)) for name in NAMES)
    assert pieces == pytest.approx(bytes_, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pieces_of_words_take_fewer_bits_than_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "model.d_model=64",
        "model.layers=2",
        "model.block.feed_forward.d_ff=172",
        "trainer.val_check_interval=null",
    ]
    small += ["sample=null", "trainer.max_steps=300"]
    pieces = bp.load(RECIPES / NAMES[0], [*small, "tokenizer.vocab_size=2048"])
    bytes_ = bp.load(RECIPES / NAMES[1], small)
    steps = round(300 * computing(pieces) / computing(bytes_))
    bytes_ = bp.load(RECIPES / NAMES[1], [*small, f"trainer.max_steps={steps}"])
    found: list[dict[str, Any]] = [
        bp.fit(spec, tmp_path / spec.name, progress=False).summary for spec in (pieces, bytes_)
    ]
    with capsys.disabled():
        for each in found:
            print(f"\n{each['validation_bits_per_byte']:.3f} bits a byte, unigram {each['unigram_bits_per_byte']:.3f}")
    of_pieces, of_bytes = found
    assert of_pieces["validation_bits_per_byte"] < of_bytes["validation_bits_per_byte"] - 0.1
    assert of_pieces["validation_bits_per_byte"] < of_pieces["unigram_bits_per_byte"] - 0.8
