"""DeepSeek's families with latent attention, their layers dense."""

from __future__ import annotations

from tests.parity.reference import Family
from tests.parity.tables import AROUND, SWIGLU, names

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-3,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 6,
    "v_head_dim": 12,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
    "mscale": 0.7,
    "mscale_all_dim": 0.4,
}
SCALED = """{type: rope, pairs: interleaved, scaling: {type: yarn, factor: 4, original_length: 64, beta_fast: 8,
             mscale: 0.7, mscale_all_dim: 0.4}}"""
WIDTHS = "type: latent, heads: 4, kv_rank: 16, nope_dim: 8, rope_dim: 6, value_dim: 12"


def model(attention: str) -> str:
    """The section; the model's eps is another than that of the latent vectors."""
    return f"""
    {{d_model: 48, layers: 2, norm: {{type: rms, eps: 1.0e-3}},
      block: {{attention: {{{WIDTHS}, {attention}}}, feed_forward: {SWIGLU}}}}}"""


WEIGHTS = names(
    "model.layers",
    {
        "attention.q": "self_attn.q_proj",
        "attention.q_down": "self_attn.q_a_proj",
        "attention.q_norm": "self_attn.q_a_layernorm",
        "attention.q_up": "self_attn.q_b_proj",
        "attention.kv_down": "self_attn.kv_a_proj_with_mqa",
        "attention.kv_norm": "self_attn.kv_a_layernorm",
        "attention.kv_up": "self_attn.kv_b_proj",
        "attention.o": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.down": "mlp.down_proj",
    },
    **AROUND,
)

FAMILIES: dict[str, Family] = {
    "deepseek_v2": Family(
        "DeepseekV2",
        {**SIZES, "q_lora_rank": None, "rope_parameters": YARN},
        model(f"position: {SCALED}"),
        WEIGHTS,
    ),
    "deepseek_v3": Family(
        "DeepseekV3",
        {**SIZES, "q_lora_rank": 20, "rope_parameters": YARN, "rope_interleave": True},
        model(f"q_rank: 20, position: {SCALED}"),
        WEIGHTS,
    ),
    "deepseek_v3 with biases, without yarn": Family(
        "DeepseekV3",
        {**SIZES, "q_lora_rank": 20, "attention_bias": True, "rope_interleave": False},
        model("q_rank: 20, bias: true, position: rope"),
        WEIGHTS,
    ),
}
