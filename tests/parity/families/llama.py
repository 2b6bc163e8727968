"""Families that keep the tensors, and the layer, of Llama."""

from __future__ import annotations

from tests.parity.reference import Family
from tests.parity.tables import GROUPED, LLAMA, SWIGLU, TWO, fused, rows

GATE_UP = {"feed_forward.gate": rows(0, 80), "feed_forward.up": rows(80, 160)}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "Llama",
        {**GROUPED, "head_dim": 16},
        f"{TWO} block: {{attention: {{heads: 4, kv_heads: 2, head_dim: 16}}, feed_forward: {SWIGLU}}}}}",
        LLAMA,
    ),
    "mistral": Family(
        "Mistral",
        {**GROUPED, "head_dim": 16, "sliding_window": 8},
        f"""
        {TWO} block: {{attention: {{heads: 4, kv_heads: 2, head_dim: 16, mask: {{type: sliding, window: 8}}}},
                       feed_forward: {SWIGLU}}}}}""",
        LLAMA,
    ),
    "qwen2": Family(
        "Qwen2",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 2,
            "tie_word_embeddings": True,
        },
        f"""
        {{d_model: 48, layers: 4, norm: {{type: rms, eps: 1.0e-3}}, head: {{tie: true}},
          block: {{attention: {{heads: 4, kv_heads: 2, bias: [q, k, v]}}, feed_forward: {SWIGLU}}},
          blocks: {{all: {{}}, near: {{attention: {{mask: {{type: sliding, window: 8}}}}}}}},
          pattern: [all, all, near, near]}}""",
        LLAMA,
    ),
    "qwen3": Family(
        "Qwen3",
        {**GROUPED, "head_dim": 16},
        f"{TWO} block: {{attention: {{heads: 4, kv_heads: 2, head_dim: 16, qk_norm: {{}}}}, feed_forward: {SWIGLU}}}}}",
        LLAMA,
    ),
    "smollm3": Family(
        "SmolLM3",
        {**GROUPED, "num_hidden_layers": 4, "no_rope_layer_interval": 2},
        f"""
        {{d_model: 48, layers: 4, norm: {{type: rms, eps: 1.0e-3}},
          block: {{attention: {{heads: 4, kv_heads: 2, position: {{type: rope, theta: 2000000}}}},
                   feed_forward: {SWIGLU}}},
          blocks: {{turned: {{}}, plain: {{attention: {{position: none}}}}}}, pattern: [turned, plain]}}""",
        LLAMA,
    ),
    "granite": Family(
        "Granite",
        {
            **GROUPED,
            "tie_word_embeddings": True,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.5,
            "residual_multiplier": 0.4,
            "attention_multiplier": 0.11,
        },
        f"""
        {TWO} embedding: {{scale: 3}}, head: {{tie: true, scale: 1 / 2.5}},
        block: {{attention: {{heads: 4, kv_heads: 2, scale: 0.11}}, feed_forward: {SWIGLU},
                 residual: {{type: scaled, by: 0.4}}}}}}""",
        LLAMA,
    ),
    "phi3": Family(
        "Phi3",
        {**GROUPED, "sliding_window": 10},
        f"""
        {TWO} block: {{attention: {{heads: 4, kv_heads: 2, mask: {{type: sliding, window: 10}}}},
                       feed_forward: {SWIGLU}}}}}""",
        fused(
            fused(
                LLAMA,
                {"attention.q": rows(0, 48), "attention.k": rows(48, 72), "attention.v": rows(72, 96)},
                "model.layers.{i}.self_attn.qkv_proj",
            ),
            GATE_UP,
            "model.layers.{i}.mlp.gate_up_proj",
        ),
    ),
    "nemotron": Family(
        "Nemotron",
        {
            **GROUPED,
            "head_dim": 16,
            "norm_eps": 1e-3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
        """
        {d_model: 48, layers: 2, norm: {type: layer, eps: 1.0e-3, offset: 1},
         block: {attention: {heads: 4, kv_heads: 2, head_dim: 16, position: {type: rope, fraction: 0.5}},
                 feed_forward: {type: mlp, d_ff: 80, activation: relu2}}}""",
        LLAMA,
    ),
    "olmo": Family(
        "Olmo",
        GROUPED,
        f"""
        {{d_model: 48, layers: 2, norm: {{type: layer, affine: false}},
          block: {{attention: {{heads: 4, kv_heads: 2}}, feed_forward: {SWIGLU}}}}}""",
        LLAMA,
    ),
    "gemma": Family(
        "Gemma",
        {**GROUPED, "head_dim": 16, "tie_word_embeddings": True},
        """
        {d_model: 48, layers: 2, norm: {type: rms, eps: 1.0e-3, offset: 1}, embedding: {scale: sqrt(d_model)},
         head: {tie: true},
         block: {attention: {heads: 4, kv_heads: 2, head_dim: 16},
                 feed_forward: {type: gated, d_ff: 80, activation: gelu_tanh}}}""",
        LLAMA,
    ),
    "glm": Family(
        "Glm",
        {
            **GROUPED,
            "head_dim": 16,
            "attention_bias": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
        f"""
        {TWO} block: {{attention: {{heads: 4, kv_heads: 2, head_dim: 16, bias: [q, k, v],
                                    position: {{type: rope, pairs: interleaved, fraction: 0.5}}}},
                       feed_forward: {SWIGLU}}}}}""",
        fused(LLAMA, GATE_UP, "model.layers.{i}.mlp.gate_up_proj"),
    ),
    "stablelm": Family(
        "StableLm",
        {
            **GROUPED,
            "layer_norm_eps": 1e-3,
            "use_qkv_bias": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
        f"""
        {{d_model: 48, layers: 2, norm: {{type: layer, eps: 1.0e-3}},
          block: {{attention: {{heads: 4, kv_heads: 2, bias: [q, k, v], position: {{type: rope, fraction: 0.5}}}},
                   feed_forward: {SWIGLU}}}}}""",
        LLAMA,
    ),
}
