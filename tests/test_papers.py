"""Specs of published models have the number of parameters that they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import blueprint as bp
from tests.conftest import ROOT

#: Counts of the reference models, by name of the spec (`specs/papers`).
COUNTS = {
    "albert_base": 11_683_584,
    "bert_base": 109_482_240,
    "bert_large": 335_141_888,
    "distilbert": 66_362_880,
    "gpt2": 124_439_808,
    "llama3_8b": 8_030_261_248,
    "modernbert_base": 149_655_232,
    "roberta_large": 355_359_744,
    "transformer_base": 63_045_632,
}
SPECS = sorted((ROOT / "specs" / "papers").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_of_a_paper_has_the_parameters_it_says(path: Path) -> None:
    said = re.search(r"([\d,]+) parameters", path.read_text())
    assert said is not None, "the comment gives no count"
    found = sum(p.numel() for p in bp.build(bp.load(path), device="meta").parameters())
    assert found == int(said[1].replace(",", "")) == COUNTS[path.stem]
