"""Families with experts beyond the public ones: held to the library's own model in the same way."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.interop.family import read_family
from blueprint.interop.solve import solve
from tests.parity.checks import ONE_WAY, Case, Checks, imported
from tests.parity.public import made

SIZE = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
BARE = {**SIZE, "max_position_embeddings": 64}
BASE = {**BARE, "intermediate_size": 40, "num_experts_per_tok": 2}
FINE = {**BASE, "moe_intermediate_size": 24}

NEAR, ALL = "sliding_attention", "full_attention"
#: Experts in groups, some of them shared.
SCORED = {**FINE, "n_routed_experts": 6, "n_group": 3, "topk_group": 2}
BESIDE = {**SCORED, "first_k_dense_replace": 1, "n_shared_experts": 2}
WINDOWED = {"sliding_window": 8, "layer_types": [NEAR, NEAR, ALL]}
MIXED = {"mlp_layer_types": ["dense", "sparse", "sparse"]}

#: One head of keys in all, and positions in a part of it.
LATENT = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 12,
    "q_lora_rank": 14,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
}
COOLED = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 4.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.3,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0 + 0.1 * n for n in range(6)],
    "long_factor": [1.5 + 0.4 * n for n in range(6)],
    "short_mscale": 1.2,
    "long_mscale": 1.2,
    "original_max_position_embeddings": 48,
}

#: Names of the library's classes, less what they end in, with settings.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_moe": ("Qwen3Moe", {**FINE, "num_experts": 5}),
    "qwen3_moe, some layers": (
        "Qwen3Moe",
        {**FINE, "num_experts": 5, "norm_topk_prob": True, "mlp_only_layers": [1], "router_aux_loss_coef": 0.0},
    ),
    "olmoe": ("Olmoe", {**BASE, "num_experts": 5}),
    "olmoe, clipped": ("Olmoe", {**BASE, "num_experts": 5, "clip_qkv": 0.7, "norm_topk_prob": True}),
    "flex_olmo": ("FlexOlmo", {**BASE, "num_experts": 5}),
    "granitemoe": (
        "GraniteMoe",
        {
            **BASE,
            "num_local_experts": 5,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
            "residual_multiplier": 0.7,
            "attention_multiplier": 0.2,
        },
    ),
    "granitemoeshared": (
        "GraniteMoeShared",
        {
            **BASE,
            "num_local_experts": 5,
            "shared_intermediate_size": 20,
            "attention_multiplier": 0.25,
            "router_aux_loss_coef": 0.0,
        },
    ),
    "granitemoeshared, nothing shared": (
        "GraniteMoeShared",
        {**BASE, "num_local_experts": 5, "attention_multiplier": 0.25},
    ),
    "glm4_moe": ("Glm4Moe", {**BESIDE, "routed_scaling_factor": 1.5, "use_qk_norm": True, "attention_bias": True}),
    "glm4_moe, no groups": ("Glm4Moe", {**BESIDE, "n_group": 1, "topk_group": 1, "norm_topk_prob": False}),
    "dots1": ("Dots1", {**BESIDE, **WINDOWED}),
    "solar_open": ("SolarOpen", {**SCORED, "n_shared_experts": 2, "head_dim": 16}),
    "ernie4_5_moe": ("Ernie4_5_Moe", {**FINE, "moe_num_experts": 6, "moe_k": 2}),
    "ernie4_5_moe, biases": (
        "Ernie4_5_Moe",
        {
            **FINE,
            "moe_num_experts": 6,
            "moe_k": 3,
            "moe_num_shared_experts": 0,
            "moe_layer_end_index": -1,
            "use_bias": True,
            "tie_word_embeddings": False,
        },
    ),
    "ernie4_5_moe, ends early": (
        "Ernie4_5_Moe",
        {**FINE, "moe_num_experts": 6, "moe_k": 2, "moe_layer_start_index": 0, "moe_layer_end_index": 1},
    ),
    "minimax_m2": (
        "MiniMaxM2",
        {
            **BASE,
            "num_local_experts": 5,
            "head_dim": 16,
            "rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.5},
        },
    ),
    "hunyuan_v1_moe": ("HunYuanMoEV1", {**BASE, "num_experts": 5, "moe_topk": 2, "head_dim": 16}),
    "exaone_moe": (
        "ExaoneMoe",
        {**FINE, **WINDOWED, **MIXED, "num_experts": 5},
    ),
    "mimo_v2_flash": ("MiMoV2Flash", {**SCORED, **WINDOWED, "head_dim": 24, "v_head_dim": 10}),
    "laguna": (
        "Laguna",
        {
            **FINE,
            **WINDOWED,
            "num_experts": 5,
            "head_dim": 16,
            "num_attention_heads_per_layer": [4, 2, 6],
            "shared_expert_intermediate_size": 20,
            "moe_router_logit_softcapping": 2.0,
            "moe_routed_scaling_factor": 1.5,
        },
    ),
    "laguna, gated by channel": (
        "Laguna",
        {
            **FINE,
            "sliding_window": 8,
            "num_experts": 5,
            "head_dim": 16,
            "shared_expert_intermediate_size": 20,
            "gating": "per-element",
            "attention_bias": True,
        },
    ),
    "mellum": ("Mellum", {**FINE, **WINDOWED, **MIXED, "num_experts": 5, "head_dim": 16}),
    "kolibri1": (
        "Kolibri1",
        {
            **BARE,
            **WINDOWED,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "num_experts": 5,
            "head_dim": 16,
            "shared_expert_intermediate_size": 20,
        },
    ),
    "hy_v3": ("HYV3", {**FINE, "num_experts": 5, "head_dim": 16, "num_shared_experts": 2, "mlp_bias": True}),
    "flint": (
        "Flint",
        {
            **FINE,
            **WINDOWED,
            "num_experts": 5,
            "head_dim": 16,
            "shared_expert_intermediate_size": 20,
            "mlp_only_layers": [1],
        },
    ),
    "cohere2_moe": (
        "Cohere2Moe",
        {**BASE, **WINDOWED, **MIXED, "num_experts": 5, "head_dim": 16, "prefix_dense_intermediate_size": 30},
    ),
    "cohere2_moe, shares": (
        "Cohere2Moe",
        {
            **BASE,
            **WINDOWED,
            "num_experts": 5,
            "head_dim": 16,
            "rms_norm_eps": 1e-4,
            "expert_selection_fn": "sigmoid",
            "num_shared_experts": 2,
            "shared_expert_combination_strategy": "sum",
        },
    ),
    "dbrx": (
        "Dbrx",
        {
            "d_model": 48,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 64,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 0.7, "rope_theta": 10000.0},
            "ffn_config": {"ffn_hidden_size": 40, "moe_num_experts": 5, "moe_top_k": 2},
        },
    ),
    "aria_text": ("AriaText", {**BARE, "intermediate_size": 40, "moe_num_experts": 5, "moe_topk": 2}),
    "phimoe": ("Phimoe", {**BASE, "num_local_experts": 5, "router_jitter_noise": 0.2}),
    "phimoe, biases": (
        "Phimoe",
        {**BASE, "num_local_experts": 5, "attention_bias": True, "lm_head_bias": True, "rope_parameters": LONG},
    ),
    "granitemoe_swa": (
        "GraniteMoeSWA",
        {
            **BASE,
            **WINDOWED,
            "num_local_experts": 5,
            "shared_intermediate_size": 20,
            "layer_rope_theta": [1000.0, 0.0, 5000.0],
            "residual_multiplier": 0.7,
            "attention_multiplier": 0.25,
        },
    ),
    "glm4_moe_lite": ("Glm4MoeLite", {**SCORED, **MIXED, **LATENT, "n_shared_experts": 2}),
    "mistral4": ("Mistral4", {**BESIDE, **LATENT, "rope_parameters": COOLED}),
}


def entry(name: str) -> dict[str, Any]:
    import transformers

    stem, config = CASES[name]
    model_class = f"{stem}ForCausalLM"
    common = {"vocab_size": 101, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config_class = getattr(transformers, model_class).config_class.__name__
    said = {**common, **config}
    return {"config_class": config_class, "model_class": model_class, "kind": "causal", "config": said}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    random = torch.Generator().manual_seed(11)
    inputs = {"input_ids": torch.randint(3, 100, (2, 24), generator=random).tolist()}
    said = {**entry(request.param), "inputs": inputs}
    return imported(made(request.param, said), tmp_path_factory.mktemp("family"))


class TestMoreExperts(Checks):
    """Everything that holds of families, of these."""

    def test_the_loss_of_uneven_experts_agrees(self, case: Case) -> None:
        """Where it is of the shares that route; with a correction theirs counts what would be chosen without."""
        terms = case.ours(case.theirs.inputs["input_ids"]).terms
        config: Any = case.theirs.model.config
        routers = [module for name, module in case.ours.named_modules() if name.endswith("feed_forward.router")]
        corrected = any(getattr(router, "correction", None) is not None for router in routers)
        if "balance_loss" not in terms or corrected:
            assert corrected or not getattr(config, "router_aux_loss_coef", 0) or routers[0].said.score == "sigmoid"
            return
        ffn = getattr(config, "ffn_config", None)
        weight = config.router_aux_loss_coef if ffn is None else ffn.moe_loss_weight
        theirs: Any = case.theirs.model(**case.theirs.inputs, output_router_logits=True)
        assert terms["balance_loss"].item() == pytest.approx(weight * theirs.aux_loss.item(), rel=1e-5)

    def test_a_config_of_it_is_had_from_the_spec_alone(self, case: Case) -> None:
        """What the family says of the model was solved for, and fills to the same plan."""
        if case.theirs.name in ONE_WAY:
            return
        family = json.loads((case.written / "import.json").read_text())["family"]
        spec = bp.load(case.written / "spec.yaml")
        assert solve(spec, read_family(family)).plan.hash == bp.plan(spec).hash
