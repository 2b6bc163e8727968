"""Specs small enough to be counted by hand."""

from __future__ import annotations

from typing import Any

import blueprint as bp
from blueprint.schema.spec import Spec

D, HEADS, KV, FF, VOCAB, LAYERS = 32, 4, 2, 80, 100, 5


def spec(layers: int = LAYERS, attention: dict[str, Any] | None = None, trainer: str = "32-true", **model: Any) -> Spec:
    """A decoder without biases, changed as said."""
    said = {
        "type": "decoder",
        "d_model": D,
        "layers": layers,
        "vocab_size": VOCAB,
        "block": {
            "attention": {"heads": HEADS, "kv_heads": KV, **(attention or {})},
            "feed_forward": {"type": "gated", "d_ff": FF},
        },
        **model,
    }
    return bp.load({"model": said, "trainer": {"precision": trainer, "accelerator": "cpu"}})


#: Layers that differ, layers that share weights, windows.
UNEVEN: dict[str, dict[str, Any]] = {
    "equal": {},
    "pattern": {
        "layers": 7,
        "blocks": {
            "local": {"attention": {"mask": {"type": "sliding", "window": 8}}},
            "wide": {"feed_forward": {"d_ff": 128}},
        },
        "pattern": ["local", "local", "wide"],
    },
    "one differs": {"layers": 8, "overrides": {"0": {"feed_forward": {"type": "mlp", "d_ff": 48, "bias": True}}}},
    "shared": {"layers": 6, "share": [0, 0, 0, 3, 3, 3]},
    "experts": {
        "layers": 6,
        "block": {
            "attention": {"heads": 4},
            "feed_forward": {
                "type": "experts",
                "experts": 8,
                "expert": {"type": "gated", "d_ff": 16},
                "router": {"type": "top_k", "k": 3},
                "shared": {"type": "gated", "d_ff": 24},
                "balance": "expert",
            },
        },
        "overrides": {"0": {"feed_forward": {"type": "gated", "d_ff": 64}}},
    },
    "parallel": {"layers": 6, "block": {"type": "parallel", "attention": {"heads": 4}, "feed_forward": {"d_ff": 64}}},
}
