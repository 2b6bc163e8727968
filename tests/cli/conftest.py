"""Running the command line inside the test's process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blueprint.cli.main import run

SPEC = """\
name: small
model:
  type: decoder
  d_model: 32
  layers: 3
  max_length: 64
  block:
    attention: {heads: 4, kv_heads: 2}
    feed_forward: {type: mlp, d_ff: 48}
  blocks:
    local: {attention: {mask: {type: sliding, window: 16}}}
  pattern: [local, block]
  head: {tie: true}
tokenizer: byte
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Blueprint = Callable[..., Ended]


@pytest.fixture
def blueprint(capsys: pytest.CaptureFixture[str]) -> Blueprint:
    def call(*words: object) -> Ended:
        code = run([str(word) for word in words])
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SPEC)
    return path
