"""One file of at most 40 lines outside the package is a component like any that ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import blueprint as bp
from blueprint.component import MEMBERS
from blueprint.testing import contract
from tests.conftest import ROOT, plugins_forgotten

FILE = ROOT / "docs" / "examples" / "average.py"

SPEC = """
plugins: [./average.py]
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 64
  block:
    attention: {type: average, inner: 48}
    feed_forward: {d_ff: 64}
tokenizer: byte
data: {source: {type: text, path: ./text.txt}, length: 32, batch_size: 4}
trainer: {max_steps: 4, limit_val_batches: 2}
sample: null
"""


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "average.py").write_text(FILE.read_text())
    (tmp_path / "text.txt").write_text("\n\n".join(f"Line {i} of a text to learn from." for i in range(400)))
    path = tmp_path / "mine.yaml"
    path.write_text(SPEC.replace("./text.txt", str(tmp_path / "text.txt")))
    with plugins_forgotten():
        yield path


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", "blueprint", *words], cwd=cwd, capture_output=True, text=True, env=env)


def test_it_is_one_short_file() -> None:
    assert len(FILE.read_text().splitlines()) <= 40


def test_it_runs_only_where_the_user_allows_it(spec: Path) -> None:
    with pytest.raises(bp.SpecError, match="allow"):
        bp.load(spec)
    assert ("attention", "average") not in MEMBERS
    assert bp.load(spec, allow_plugins=True).model.block.attention.inner == 48


def test_it_keeps_the_contract(spec: Path) -> None:
    bp.load(spec, allow_plugins=True)
    assert "step by step equals at once" in contract("attention", "average")


def test_its_mistakes_are_diagnosed(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("inner: 48", "iner: 48"))
    with pytest.raises(bp.SpecError, match="did you mean `inner`"):
        bp.load(spec, allow_plugins=True)
    spec.write_text(spec.read_text().replace("average, iner", "avrage, inner"))
    with pytest.raises(bp.SpecError, match="did you mean `average`"):
        bp.load(spec, allow_plugins=True)


def test_its_cost_is_counted(spec: Path) -> None:
    loaded = bp.load(spec, allow_plugins=True)
    model = bp.build(loaded)
    assert bp.cost(loaded, length=64).parameters == sum(p.numel() for p in model.parameters())


def test_it_decodes_by_the_honest_fallback(spec: Path) -> None:
    import torch

    model = bp.build(bp.load(spec, allow_plugins=True)).eval()
    assert not model.incremental
    ids = torch.randint(0, 256, (1, 5))
    out = bp.generate(model, ids, max_new_tokens=3, temperature=0)
    for length in (5, 6, 7):
        assert out[0, length] == model(out[:, :length]).logits[0, -1].argmax()


def test_it_trains(spec: Path, tmp_path: Path) -> None:
    bp.fit(bp.load(spec, allow_plugins=True), out=tmp_path / "run")
    assert (tmp_path / "run" / "metrics.csv").exists()


def test_the_commands_know_it(spec: Path, tmp_path: Path) -> None:
    allowed = ("--allow-plugins",)
    listed = command("list", "attention", "--plugin", "./average.py", cwd=tmp_path)
    assert "average" in listed.stdout, listed.stderr
    explained = command("explain", "model.block.attention.inner", str(spec), *allowed, cwd=tmp_path)
    assert "Width of the values" in explained.stdout, explained.stderr
    schema = command("schema", "--plugin", "./average.py", cwd=tmp_path)
    assert "average" in json.dumps(json.loads(schema.stdout)), schema.stderr


def test_a_run_with_it_is_told_how_to_go_on_and_does(spec: Path, tmp_path: Path) -> None:
    run = bp.fit(bp.load(spec, allow_plugins=True), out=tmp_path / "run")
    assert run.report().count("--allow-plugins") == 3
    with pytest.raises(bp.SpecError, match="permission"):
        bp.restore(tmp_path / "run")
    assert bp.resume(tmp_path / "run", ["trainer.max_steps=5"], allow_plugins=True).step == 5
    words = ("generate", str(tmp_path / "run"), "--prompt", "Line", "--max-new-tokens", "3", "--allow-plugins")
    assert command(*words, cwd=tmp_path).returncode == 0
