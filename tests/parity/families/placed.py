"""Families whose layers put norms or sublayers elsewhere, or have other parts."""

from __future__ import annotations

from tests.parity.reference import Family
from tests.parity.tables import AROUND, ATTENTION, GATED, GROUPED, LLAMA, PRE, QK_NORM, SIZE, SWIGLU, TWO, names

FOUR = {**GROUPED, "num_hidden_layers": 4, "head_dim": 16}
OUTPUT = {"attention_post_norm": "post_attention_layernorm", "feed_forward_post_norm": "post_feedforward_layernorm"}
SANDWICH = {"attention_norm": "input_layernorm", "feed_forward_norm": "pre_feedforward_layernorm", **OUTPUT}
GEMMA = names("model.layers", {**ATTENTION, **QK_NORM, **GATED, **SANDWICH}, **AROUND)
OLMO2 = names("model.layers", {**ATTENTION, **QK_NORM, **GATED, **OUTPUT}, **AROUND)
NEAR, ALL = "sliding_attention", "full_attention"
NEAR_AND_ALL = {**GROUPED, "num_hidden_layers": 4, "sliding_window": 8, "layer_types": [NEAR, NEAR, NEAR, ALL]}

FAMILIES: dict[str, Family] = {
    "starcoder2": Family(
        "Starcoder2",
        {**GROUPED, "norm_epsilon": 1e-3, "sliding_window": 8, "tie_word_embeddings": True},
        """
        {d_model: 48, layers: 2, norm: {type: layer, eps: 1.0e-3}, head: {tie: true},
         block: {attention: {heads: 4, kv_heads: 2, bias: true, mask: {type: sliding, window: 8}},
                 feed_forward: {type: mlp, d_ff: 80, activation: gelu_tanh, bias: true}}}""",
        names(
            "model.layers",
            {**ATTENTION, "feed_forward.up": "mlp.c_fc", "feed_forward.down": "mlp.c_proj", **PRE},
            **AROUND,
        ),
    ),
    "phi": Family(
        "Phi",
        {
            **SIZE,
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "layer_norm_eps": 1e-3,
            "qk_layernorm": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
        """
        {d_model: 64, layers: 2, norm: {type: layer, eps: 1.0e-3}, head: {bias: true},
         block: {type: parallel,
                 attention: {heads: 4, kv_heads: 2, bias: true, qk_norm: {}, position: {type: rope, fraction: 0.5}},
                 feed_forward: {type: mlp, d_ff: 80, activation: gelu_tanh, bias: true}}}""",
        names(
            "model.layers",
            {
                **ATTENTION,
                "attention.o": "self_attn.dense",
                "attention.q_norm": "self_attn.q_layernorm",
                "attention.k_norm": "self_attn.k_layernorm",
                "feed_forward.up": "mlp.fc1",
                "feed_forward.down": "mlp.fc2",
                "attention_norm": "input_layernorm",
            },
            **{**AROUND, "norm": "model.final_layernorm"},
        ),
    ),
    "olmo2": Family(
        "Olmo2",
        GROUPED,
        f"""
        {TWO} block: {{placement: output, attention: {{heads: 4, kv_heads: 2, qk_norm: {{over: full}}}},
                       feed_forward: {SWIGLU}}}}}""",
        OLMO2,
    ),
    "cohere": Family(
        "Cohere",
        {**GROUPED, "tie_word_embeddings": True, "layer_norm_eps": 1e-3, "use_qk_norm": True, "logit_scale": 0.25},
        f"""
        {{d_model: 48, layers: 2, norm: {{type: layer, eps: 1.0e-3, bias: false}}, head: {{tie: true, scale: 0.25}},
          block: {{type: parallel, feed_forward: {SWIGLU},
                   attention: {{heads: 4, kv_heads: 2, qk_norm: {{over: heads}},
                                position: {{type: rope, pairs: interleaved, theta: 500000}}}}}}}}""",
        LLAMA,
    ),
    "cohere2": Family(
        "Cohere2",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "tie_word_embeddings": True,
            "layer_norm_eps": 1e-3,
            "sliding_window": 8,
            "layer_types": [NEAR, ALL] * 2,
        },
        f"""
        {{d_model: 48, layers: 4, norm: {{type: layer, eps: 1.0e-3, bias: false}}, head: {{tie: true, scale: 1 / 16}},
          block: {{type: parallel, feed_forward: {SWIGLU}, attention: {{heads: 4, kv_heads: 2}}}},
          blocks: {{near: {{attention: {{mask: {{type: sliding, window: 8}},
                                         position: {{type: rope, pairs: interleaved}}}}}},
                    all: {{attention: {{position: none}}}}}},
          pattern: [near, all]}}""",
        LLAMA,
    ),
    "gemma2": Family(
        "Gemma2",
        {
            **FOUR,
            "tie_word_embeddings": True,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
        },
        """
        {d_model: 48, layers: 4, norm: {type: rms, eps: 1.0e-3, offset: 1}, embedding: {scale: sqrt(d_model)},
         head: {tie: true, softcap: 10},
         block: {placement: sandwich, feed_forward: {type: gated, d_ff: 80, activation: gelu_tanh},
                 attention: {heads: 4, kv_heads: 2, head_dim: 16, scale: 1 / sqrt(24), softcap: 5}},
         blocks: {near: {attention: {mask: {type: sliding, window: 8}}}, all: {}}, pattern: [near, all]}""",
        GEMMA,
    ),
    "gemma3": Family(
        "Gemma3",
        {
            **FOUR,
            "tie_word_embeddings": True,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "layer_types": [NEAR, NEAR, ALL, NEAR],
            "rope_parameters": {
                NEAR: {"rope_type": "default", "rope_theta": 1000.0},
                ALL: {"rope_type": "default", "rope_theta": 100000.0},
            },
        },
        """
        {d_model: 48, layers: 4, norm: {type: rms, eps: 1.0e-3, offset: 1}, embedding: {scale: sqrt(d_model)},
         head: {tie: true},
         block: {placement: sandwich, feed_forward: {type: gated, d_ff: 80, activation: gelu_tanh},
                 attention: {heads: 4, kv_heads: 2, head_dim: 16, scale: 1 / sqrt(24), qk_norm: {},
                             position: {type: rope, theta: 1000}}},
         blocks: {near: {attention: {mask: {type: sliding, window: 8}}},
                  all: {attention: {position: {theta: 100000}}}},
         pattern: [near, near, all, near]}""",
        GEMMA,
    ),
    "olmo3": Family(
        "Olmo3",
        NEAR_AND_ALL,
        f"""
        {{d_model: 48, layers: 4, norm: {{type: rms, eps: 1.0e-3}},
          block: {{placement: output, feed_forward: {SWIGLU},
                   attention: {{heads: 4, kv_heads: 2, qk_norm: {{over: full}},
                                position: {{type: rope, theta: 500000}}}}}},
          blocks: {{near: {{attention: {{mask: {{type: sliding, window: 8}}}}}}, all: {{}}}},
          pattern: [near, near, near, all]}}""",
        OLMO2,
    ),
    "exaone4": Family(
        "Exaone4",
        NEAR_AND_ALL,
        f"""
        {{d_model: 48, layers: 4, norm: {{type: rms, eps: 1.0e-3}},
          block: {{placement: output, attention: {{heads: 4, kv_heads: 2, qk_norm: {{}}}}, feed_forward: {SWIGLU}}},
          blocks: {{near: {{attention: {{mask: {{type: sliding, window: 8}}}}}},
                    all: {{attention: {{position: none}}}}}},
          pattern: [near, near, near, all]}}""",
        OLMO2,
    ),
}
