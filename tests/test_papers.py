"""Specs of published models have the number of parameters that they say, and come near what their papers print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import blueprint as bp
from blueprint.cost import parameters
from tests.conftest import ROOT

#: Counts of the transformers library's models, built on the meta device, by name of the spec (`specs/papers`). It has
#: no Transformer of 2017, which is counted from its formulas in `tests/parity/test_transformer.py`; and it ties the
#: head of T5 1.1, whose 32,128 · 768 are added here.
COUNTS = {
    "deepseek_v2": 235_741_434_880,
    "deepseek_v3": 671_026_404_352,
    "gpt_oss_20b": 20_914_757_184,
    "gshard_600b": 619_464_806_400,
    "llama4_scout": 107_769_861_120,
    "mixtral_8x7b": 46_702_792_704,
    "qwen3_30b_a3b": 30_532_122_624,
    "switch_c": 1_571_308_972_448,
    "albert_base": 11_683_584,
    "bart_large": 406_291_456,
    "bert_base": 109_482_240,
    "bert_large": 335_141_888,
    "bloom_176b": 176_247_271_424,
    "deberta_v3_base": 183_831_552,
    "clip_vit_b32": 151_277_313,
    "distilbert": 66_362_880,
    "gemma2_9b": 9_241_705_984,
    "gemma3_4b": 3_880_263_168,
    "gpt2": 124_439_808,
    "gpt2_large": 774_030_080,
    "gpt2_medium": 354_823_168,
    "gpt2_xl": 1_557_611_200,
    "gpt3_175b": 174_604_259_328,
    "llama3_70b": 70_553_706_496,
    "llama3_8b": 8_030_261_248,
    "llama_7b": 6_738_415_616,
    "mistral_7b": 7_241_732_096,
    "modernbert_base": 149_655_232,
    "olmo2_7b": 7_298_617_344,
    "phi3_mini": 3_821_079_552,
    "qwen3_8b": 8_190_735_360,
    "roberta_large": 355_359_744,
    "t5_11b": 11_307_321_344,
    "t5_base": 222_903_552,
    "t5_small": 60_506_624,
    "t5_v1_1_base": 247_577_856,
    "transformer_base": 63_045_632,
    "transformer_big": 214_171_648,
    "vit_base": 86_567_656,
    "vit_large": 304_326_632,
}
#: Of models with experts, the parameters that a token passes through, the table of tokens counted whole.
ACTIVE = {
    "deepseek_v2": 21_375_800_320,
    "deepseek_v3": 37_552_282_624,
    "gpt_oss_20b": 4_187_440_704,
    "gshard_600b": 1_593_495_552,
    "llama4_scout": 17_172_894_720,
    "mixtral_8x7b": 12_879_925_248,
    "qwen3_30b_a3b": 3_353_032_704,
    "switch_c": 1_728_326_048,
}
SPECS = sorted((ROOT / "specs" / "papers").glob("*.yaml"))
UNITS = {"M": 1e6, "B": 1e9}


def comment(path: Path) -> str:
    """What a spec says of itself above its first key, as one line."""
    lines = path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:first])


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_of_a_paper_has_the_parameters_it_says(path: Path) -> None:
    said = re.search(r": ([\d,]+) parameters", comment(path))
    assert said is not None, "the comment gives no count"
    model = bp.build(bp.load(path), device="meta")
    assert parameters.total(model) == int(said[1].replace(",", "")) == COUNTS[path.stem]
    active = re.search(r" parameters, ([\d,]+) active", comment(path))
    assert (active is not None) == (path.stem in ACTIVE)
    found = int(active[1].replace(",", "")) if active else COUNTS[path.stem]
    assert parameters.active(model) == found == ACTIVE.get(path.stem, found)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_papers_own_number_is_within_a_percent_or_the_difference_explained(path: Path) -> None:
    printed = re.search(r"\(([\d.,]+)([MB])\b", comment(path))
    assert printed is not None, "the comment does not give the paper's number, such as (110M)"
    theirs = float(printed[1].replace(",", "")) * UNITS[printed[2]]
    far = abs(COUNTS[path.stem] - theirs) / theirs
    explained = "difference" in comment(path)
    say = "says why" if explained else "does not say why"
    assert (far > 0.01) == explained, f"{far:.1%} off the paper's number, and the comment {say}"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_of_a_paper_names_paper_and_place_and_is_called_as_its_file(path: Path) -> None:
    assert re.search(r'\d{4}, "[^"]+", (section|table)', comment(path))
    assert bp.load(path).name == path.stem
