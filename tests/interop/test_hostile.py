"""Configs and family files made to exhaust whoever reads them: each is refused at once, in a paragraph."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from blueprint.diagnosis import SpecError
from blueprint.interop.config import Config, FamilyError, parse_config
from blueprint.interop.family import read_family
from blueprint.interop.rules import read_rules
from blueprint.interop.template import fill
from blueprint.model.build import build_plan

MODEL = "model: {type: decoder, vocab_size: 16, d_model: 8, layers: 2, max_length: 16, block: {attention: {heads: 2}}}"
SECONDS = 3.0


def tenfold(name: str, piece: str, first: str) -> str:
    """A map in which every entry asks for the one before it ten times over."""
    return "\n".join(
        [f"  {name}0: {first}", *(f"  {name}{n}: {piece.replace('#', f'{name}{n - 1}')}" for n in range(1, 12))]
    )


PIECES = "templates:\n" + tenfold("t", "[" + ", ".join(["{$use: #}"] * 10) + "]", "1")
NAMES = "let:\n" + tenfold("a", '"${[' + ", ".join(["#"] * 10) + ']}"', "1")
MANY = "\n".join(f'  "layers.{{i}}.a{n}.{{q,k,v}}": "m.{{i}}.{n}.{{q,k,v}}"' for n in range(20_000))


def family(folder: Path, text: str) -> Any:
    (folder / "mine.yaml").write_text(text if "weights:" in text else f"{text}\nweights: {{}}")
    return read_family(folder / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL.replace("type:", "extra: {$use: t11}, type:") + f"\n{PIECES}", "at most 50,000 times"),
        (MODEL.replace("type:", "extra: {$if: 'false', then: {$use: t11}}, type:") + f"\n{PIECES}", "at most 50,000"),
        (MODEL.replace("layers: 2", 'layers: "${hf.depth}"'), "at most 2,000 layers"),
    ],
)
def test_templates_are_bounded(tmp_path: Path, text: str, words: str) -> None:
    found = family(tmp_path, f"match: {{model_type: mine}}\n{text}")
    began = time.process_time()
    with pytest.raises(FamilyError, match=words):
        fill(found, Config.of({"model_type": "mine", "depth": 10**9}))
    assert time.process_time() - began < SECONDS


def test_names_that_need_each_other_are_gone_through_once(tmp_path: Path) -> None:
    text = MODEL.replace("layers: 2", 'layers: "${len(a11) - 8}"')
    found = family(tmp_path, f"match: {{model_type: mine}}\n{text}\n{NAMES}")
    began = time.process_time()
    (stack,) = fill(found, Config.of({"model_type": "mine"})).plan.stacks.values()
    assert len(stack) == 2
    assert time.process_time() - began < SECONDS


def test_a_tensor_that_no_machine_holds_is_refused(tmp_path: Path) -> None:
    found = family(tmp_path, f"match: {{model_type: mine}}\n{MODEL.replace('vocab_size: 16', f'vocab_size: {10**18}')}")
    plan = fill(found, Config.of({"model_type": "mine"})).plan
    with pytest.raises(SpecError, match="more bytes than can be counted"):
        build_plan(plan, device="meta")


def test_rules_are_bounded(tmp_path: Path) -> None:
    found = family(tmp_path, f"match: {{model_type: mine}}\n{MODEL}\nweights:\n{MANY}")
    began = time.process_time()
    with pytest.raises(FamilyError, match="at most 2,000 names"):
        read_rules(found)
    assert time.process_time() - began < SECONDS


def test_a_config_of_very_many_fields_is_refused() -> None:
    began = time.process_time()
    with pytest.raises(FamilyError, match="at most 200,000 values"):
        parse_config(json.dumps({f"k{n}": n for n in range(300_000)}))
    assert time.process_time() - began < SECONDS


def test_a_diagnosis_is_a_paragraph_however_long_the_line_and_many_the_faults(tmp_path: Path) -> None:
    config = parse_config(json.dumps({"model_type": "mine", **{f"k{n}": n for n in range(3000)}}))
    filled = fill(family(tmp_path, f"match: {{model_type: mine}}\n{MODEL}"), config)
    with pytest.raises(FamilyError) as caught:
        filled.check_used()
    said = str(caught.value)
    assert "and 2,900 more" in said
    assert said.endswith("3000 errors in 1 family")
    assert "`k0: 0` is read by nothing" in said
    assert max(map(len, said.splitlines())) < 400
    marked = [line for line in said.splitlines() if "^" in line]
    above = said.splitlines()[said.splitlines().index(marked[50]) - 1]
    assert above[marked[50].index("^") :].startswith('"k')
