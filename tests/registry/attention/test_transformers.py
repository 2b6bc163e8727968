"""Attention as the transformers library computes it, on the same weights."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from blueprint.component import Site
from blueprint.kinds import Attention
from blueprint.ops import Flow

COMMON = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "attention_dropout": 0.0,
}
LAYER = {"type": "layer", "bias": False}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("Llama", {}, {"position": {"type": "rope", "theta": 10000.0}}),
    "llama with biases": ("Llama", {"attention_bias": True}, {"bias": True}),
    "qwen3": ("Qwen3", {"head_dim": 16}, {"head_dim": 16, "qk_norm": {"norm": {"type": "rms", "eps": 1e-6}}}),
    "olmo2": ("Olmo2", {"rms_norm_eps": 1e-5}, {"qk_norm": {"over": "full", "norm": {"type": "rms", "eps": 1e-5}}}),
    "cohere": (
        "Cohere",
        {"use_qk_norm": True},
        {
            "qk_norm": {"over": "heads", "norm": LAYER},
            "position": {"type": "rope", "theta": 500000.0, "pairs": "interleaved"},
        },
    ),
}


@pytest.mark.parametrize(("family", "config", "said"), CASES.values(), ids=CASES)
def test_it_is_the_familys_attention(family: str, config: dict[str, Any], said: dict[str, Any]) -> None:
    library = importlib.import_module(f"transformers.models.{family.lower()}.modeling_{family.lower()}")
    settings = library.__dict__[f"{family}Config"](**COMMON, **config, attn_implementation="eager")
    torch.manual_seed(0)
    theirs = getattr(library, f"{family}Attention")(settings, layer_idx=0).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)

    at = Site(d_model=48, width=48, path="attention")
    ours = Attention.of({"type": "multi_head", "heads": 6, "kv_heads": 2, **said}).filled(at).build(at).eval()
    ours.load_state_dict({name.replace("_proj.", "."): value for name, value in theirs.state_dict().items()})

    x_BTD = torch.randn(2, 11, 48)
    later_TS = torch.full((11, 11), torch.finfo(torch.float32).min).triu(1)
    angles = getattr(library, f"{family}RotaryEmbedding")(settings)(x_BTD, torch.arange(11)[None])
    with torch.no_grad():
        expected = theirs(x_BTD, position_embeddings=angles, attention_mask=later_TS[None, None])[0]
        found, _ = ours(x_BTD, Flow.of(2, 11))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
