"""Families that keep the tensors of GPT-2, of GPT-J or of their own."""

from __future__ import annotations

from torch import Tensor

from tests.parity.reference import LENGTH, Family
from tests.parity.tables import ATTENTION, PRE, SIZE, fused, names, rows, thirds

GPT = {"attention.o": "attn.c_proj", "feed_forward.up": "mlp.c_fc", "feed_forward.down": "mlp.c_proj"}
GPT_NORMS = {"attention_norm": "ln_1", "feed_forward_norm": "ln_2"}
GPT_AROUND = {"embedding__tokens": "transformer.wte", "norm": "transformer.ln_f", "head": "lm_head"}
NEOX = {
    "attention.o": "attention.dense",
    "feed_forward.up": "mlp.dense_h_to_4h",
    "feed_forward.down": "mlp.dense_4h_to_h",
    **PRE,
}
BLOOM = {**NEOX, "attention.o": "self_attention.dense"}
OPT = {
    **ATTENTION,
    "attention.o": "self_attn.out_proj",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "attention_norm": "self_attn_layer_norm",
    "feed_forward_norm": "final_layer_norm",
}
LEARNED = {"embedding__positions": "transformer.wpe"}
TURNED = {
    f"layers.{{i}}.{ours}.weight": (f"transformer.h.{{i}}.{theirs}.weight", Tensor.t) for ours, theirs in GPT.items()
}


FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        "GPT2",
        {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": LENGTH, "layer_norm_epsilon": 1e-3},
        """
        {d_model: 32, layers: 3, norm: {type: layer, eps: 1.0e-3}, embedding: {positions: learned}, head: {tie: true},
         block: {attention: {heads: 4, bias: true, position: none},
                 feed_forward: {type: mlp, activation: gelu_tanh, bias: true}}}""",
        {
            **fused(
                names("transformer.h", {**GPT, **GPT_NORMS}, **GPT_AROUND, **LEARNED),
                thirds(turned=True),
                "transformer.h.{i}.attn.c_attn",
            ),
            **TURNED,
        },
    ),
    "gpt_neo": Family(
        "GPTNeo",
        {
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 6,
            "layer_norm_epsilon": 1e-3,
        },
        """
        {d_model: 32, layers: 4, norm: {type: layer, eps: 1.0e-3}, embedding: {positions: learned}, head: {tie: true},
         block: {attention: {heads: 4, bias: [o], scale: 1, position: none},
                 feed_forward: {type: mlp, activation: gelu_tanh, bias: true}},
         blocks: {all: {}, local: {attention: {mask: {type: sliding, window: 6}}}}, pattern: [all, local]}""",
        names(
            "transformer.h",
            {
                **GPT,
                **GPT_NORMS,
                **{f"attention.{name}": f"attn.attention.{name}_proj" for name in "qkv"},
                "attention.o": "attn.attention.out_proj",
            },
            **GPT_AROUND,
            **LEARNED,
        ),
    ),
    "gpt_neox": Family(
        "GPTNeoX",
        {
            **SIZE,
            "hidden_size": 64,
            "num_attention_heads": 4,
            "layer_norm_eps": 1e-3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        },
        """
        {d_model: 64, layers: 2, norm: {type: layer, eps: 1.0e-3},
         block: {type: parallel, feed_forward_norm: {type: layer, eps: 1.0e-3},
                 attention: {heads: 4, bias: true, position: {type: rope, fraction: 0.25}},
                 feed_forward: {type: mlp, d_ff: 80, bias: true}}}""",
        fused(
            names(
                "gpt_neox.layers",
                NEOX,
                embedding__tokens="gpt_neox.embed_in",
                norm="gpt_neox.final_layer_norm",
                head="lm_head",
            ),
            thirds(by_head=4),
            "gpt_neox.layers.{i}.attention.query_key_value",
        ),
    ),
    "bloom": Family(
        "Bloom",
        {"hidden_size": 48, "n_layer": 3, "n_head": 6, "layer_norm_epsilon": 1e-3},
        """
        {d_model: 48, layers: 3, norm: {type: layer, eps: 1.0e-3}, embedding: {norm: {type: layer, eps: 1.0e-3}},
         head: {tie: true},
         block: {attention: {heads: 6, bias: true, position: alibi},
                 feed_forward: {type: mlp, activation: gelu_tanh, bias: true}}}""",
        fused(
            names(
                "transformer.h",
                BLOOM,
                embedding__tokens="transformer.word_embeddings",
                embedding__norm="transformer.word_embeddings_layernorm",
                norm="transformer.ln_f",
            ),
            thirds(by_head=6),
            "transformer.h.{i}.self_attention.query_key_value",
        ),
        says_positions=False,
    ),
    "gptj": Family(
        "GPTJ",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": LENGTH, "rotary_dim": 8, "layer_norm_epsilon": 1e-3},
        """
        {d_model: 64, layers: 2, norm: {type: layer, eps: 1.0e-3}, head: {bias: true},
         block: {type: parallel,
                 attention: {heads: 4, position: {type: rope, pairs: interleaved, fraction: 0.5}},
                 feed_forward: {type: mlp, activation: gelu_tanh, bias: true}}}""",
        names(
            "transformer.h",
            {
                **{f"attention.{name}": f"attn.{name}_proj" for name in "qkv"},
                "attention.o": "attn.out_proj",
                "feed_forward.up": "mlp.fc_in",
                "feed_forward.down": "mlp.fc_out",
                "attention_norm": "ln_1",
            },
            **GPT_AROUND,
        ),
    ),
    "opt": Family(
        "OPT",
        {"hidden_size": 48, "num_hidden_layers": 2, "ffn_dim": 80, "num_attention_heads": 4},
        """
        {d_model: 48, layers: 2, norm: layer, embedding: {positions: {type: learned, offset: 2}}, head: {tie: true},
         block: {attention: {heads: 4, bias: true, position: none},
                 feed_forward: {type: mlp, d_ff: 80, activation: relu, bias: true}}}""",
        names(
            "model.decoder.layers",
            OPT,
            embedding__tokens="model.decoder.embed_tokens",
            embedding__positions="model.decoder.embed_positions",
            norm="model.decoder.final_layer_norm",
        ),
        says_positions=False,
    ),
    "opt_narrow": Family(
        "OPT",
        {
            "hidden_size": 48,
            "word_embed_proj_dim": 20,
            "do_layer_norm_before": False,
            "num_hidden_layers": 2,
            "ffn_dim": 80,
            "num_attention_heads": 4,
        },
        """
        {d_model: 48, layers: 2, norm: layer, final_norm: null,
         embedding: {width: 20, project: tokens, projection_bias: false, positions: {type: learned, offset: 2}},
         head: {type: masked_language_model, activation: identity, dense_bias: false, norm: null, tie: true,
                bias: false},
         block: {placement: post, attention: {heads: 4, bias: true, position: none},
                 feed_forward: {type: mlp, d_ff: 80, activation: relu, bias: true}}}""",
        names(
            "model.decoder.layers",
            OPT,
            embedding__tokens="model.decoder.embed_tokens",
            embedding__projection="model.decoder.project_in",
            embedding__positions="model.decoder.embed_positions",
            head__transform__dense="model.decoder.project_out",
        ),
        says_positions=False,
    ),
    "falcon": Family(
        "Falcon",
        {
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 1,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "layer_norm_epsilon": 1e-3,
        },
        """
        {d_model: 48, layers: 2, norm: {type: layer, eps: 1.0e-3}, head: {tie: true},
         block: {type: parallel, attention: {heads: 4, kv_heads: 1}, feed_forward: {type: mlp, activation: gelu}}}""",
        fused(
            names(
                "transformer.h",
                BLOOM,
                embedding__tokens="transformer.word_embeddings",
                norm="transformer.ln_f",
            ),
            {"attention.q": rows(0, 48), "attention.k": rows(48, 60), "attention.v": rows(60, 72)},
            "transformer.h.{i}.self_attention.query_key_value",
        ),
    ),
    "gpt_bigcode": Family(
        "GPTBigCode",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LENGTH, "layer_norm_epsilon": 1e-3},
        """
        {d_model: 32, layers: 2, norm: {type: layer, eps: 1.0e-3}, embedding: {positions: learned}, head: {tie: true},
         block: {attention: {heads: 4, kv_heads: 1, bias: true, position: none},
                 feed_forward: {type: mlp, activation: gelu_tanh, bias: true}}}""",
        fused(
            names("transformer.h", {**GPT, **GPT_NORMS}, **GPT_AROUND, **LEARNED),
            {"attention.q": rows(0, 32), "attention.k": rows(32, 40), "attention.v": rows(40, 48)},
            "transformer.h.{i}.attn.c_attn",
        ),
    ),
}
