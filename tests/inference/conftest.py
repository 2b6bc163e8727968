"""Small models whose logits stand well apart, so that the likeliest token is no matter of rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import blueprint as bp

Make = Callable[..., nn.Module]

VARIANTS: dict[str, dict[str, Any]] = {
    "rope": {},
    "grouped": {"attention": {"kv_heads": 2}},
    "window": {"attention": {"mask": {"type": "sliding", "window": 5}}},
    "alibi": {"attention": {"position": "alibi"}},
    "learned": {"attention": {"position": "none"}, "embedding": {"type": "tokens", "positions": "learned"}},
    "softcap": {"attention": {"softcap": 5.0, "kv_heads": 1}},
}


def make(
    attention: dict[str, Any] | None = None, block: dict[str, Any] | None = None, vocab_size: int = 61, **model: Any
) -> nn.Module:
    """A decoder of two layers, changed as said."""
    mixer = {"type": "multi_head", "heads": 4, **(attention or {})}
    said = {
        "type": "decoder",
        "d_model": 32,
        "layers": 2,
        "vocab_size": vocab_size,
        "max_length": 40,
        "block": {
            "type": "sequential",
            "attention": mixer,
            "feed_forward": {"type": "gated", "d_ff": 48},
            **(block or {}),
        },
        "init": {"type": "normal", "std": 0.3},
        **model,
    }
    return bp.build(bp.load({"model": said})).eval()


def writer(vocab_size: int = 61, **model: Any) -> nn.Module:
    """An encoder-decoder of two layers a side, changed as said."""
    said = {
        "type": "encoder_decoder",
        "d_model": 32,
        "layers": 2,
        "vocab_size": vocab_size,
        "max_length": 40,
        "block": {"attention": {"heads": 4}, "feed_forward": {"type": "gated", "d_ff": 48}},
        "init": {"type": "normal", "std": 0.3},
        **model,
    }
    return bp.build(bp.load({"model": said})).eval()


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return make(**VARIANTS[request.param])


@pytest.fixture
def build() -> Make:
    return make
