"""`blueprint import` and `blueprint export` on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import blueprint as bp
from blueprint.interop.safetensors_out import Out, sharded, shards
from tests.cli.conftest import Blueprint

FAMILY = """\
match: {model_type: tiny}
model:
  type: decoder
  d_model: ${hf.width}
  layers: ${hf.depth}
  vocab_size: 10
  max_length: 8
  norm: {type: rms, affine: false}
  block:
    attention: {heads: 2}
    feed_forward: {type: mlp, d_ff: 16}
  head: {tie: true}
weights:
  embedding.tokens.weight: wte
  layers.{i}.attention.{q,k,v}.weight: {from: "h.{i}.qkv", as: "(h (q + k + v) d) m -> (h q d) m, (h k d) m, (h v d) m",
    sizes: {h: 2, q: 1, k: 1, v: 1}}
  layers.{i}.attention.o.weight: h.{i}.o
  layers.{i}.feed_forward.{up,down}.weight: "h.{i}.{up,down}"
"""


@pytest.fixture
def family(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FAMILY)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny", "width": 8, "depth": 2}))
    (folder / "tokenizer.json").write_text("{}")
    shapes = {"wte": (10, 8)}
    for i in range(2):
        shapes |= {f"h.{i}.qkv": (24, 8), f"h.{i}.o": (8, 8), f"h.{i}.up": (16, 8), f"h.{i}.down": (8, 16)}
    generator = np.random.default_rng(0)
    outs = [Out(name, "F32", shape) for name, shape in shapes.items()]
    with sharded(folder, shards(outs)) as writers:
        for out in outs:
            writers[out.name].put(out.name, generator.normal(size=out.shape).astype(np.float32))
    return folder


def test_there_and_back(blueprint: Blueprint, checkpoint: Path, family: Path, tmp_path: Path) -> None:
    ended = blueprint("import", checkpoint, "-o", tmp_path / "in", "--family", family)
    assert ended.code == 0, ended.err
    parameters = 10 * 8 + 2 * (4 * 64 + 2 * 128)
    for said in ("family      mine", f"({parameters:,})", "tensors     13", str(tmp_path / "in" / "spec.yaml")):
        assert said in ended.out, ended.out
    ended = blueprint("export", tmp_path / "in", "-o", tmp_path / "back", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["parameters"] == parameters
    assert ended.json["files"] == ["config.json", "model.safetensors", "tokenizer.json"]
    for path in checkpoint.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_an_import_is_a_folder_like_any_other(
    blueprint: Blueprint, checkpoint: Path, family: Path, tmp_path: Path
) -> None:
    ended = blueprint("import", checkpoint, "-o", tmp_path / "in", "--family", family, "--json")
    assert ended.json["parameters"] == sum(p.numel() for p in bp.restore(tmp_path / "in").parameters())
    assert blueprint("check", ended.json["spec"]).code == 0
    assert blueprint("plan", tmp_path / "in", "--json").json["hash"] == ended.json["hash"]
    lock = json.loads((tmp_path / "in" / "lock.json").read_text())
    assert lock["plan"] == ended.json["hash"]


def test_an_unread_field_refuses_until_it_is_ignored(
    blueprint: Blueprint, checkpoint: Path, family: Path, tmp_path: Path
) -> None:
    said = {"model_type": "tiny", "width": 8, "depth": 2, "twist": 3, "turn": {"left": 1}}
    (checkpoint / "config.json").write_text(json.dumps(said))
    words = ["import", checkpoint, "-o", tmp_path / "in", "--family", family]
    ended = blueprint(*words)
    assert ended.code == 1
    assert "twist" in ended.err
    assert "turn.left" in ended.err
    assert not (tmp_path / "in").exists()
    assert blueprint(*words, "--ignore", "twist").code == 1
    assert blueprint(*words, "--ignore", "twist", "--ignore", "turn").code == 0
    assert blueprint("export", tmp_path / "in", "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "config.json").read_bytes() == (checkpoint / "config.json").read_bytes()


def test_mistakes_end_with_1(blueprint: Blueprint, checkpoint: Path, family: Path, tmp_path: Path) -> None:
    ended = blueprint("import", checkpoint, "-o", tmp_path / "in")
    assert ended.code == 1
    assert "tiny" in ended.err
    ended = blueprint("import", tmp_path / "nowhere", "-o", tmp_path / "in")
    assert (ended.code, "does not exist" in ended.err) == (1, True)
    ended = blueprint("import", checkpoint, "-o", checkpoint, "--family", family)
    assert (ended.code, "not overwritten" in ended.err) == (1, True)
    os.truncate(checkpoint / "model.safetensors", 1000)
    ended = blueprint("import", checkpoint, "-o", tmp_path / "in", "--family", family)
    assert (ended.code, "cut short" in ended.err) == (1, True)
    ended = blueprint("export", tmp_path, "-o", tmp_path / "out")
    assert (ended.code, "neither a run nor a model" in ended.err) == (1, True)
