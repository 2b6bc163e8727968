"""Families with experts beyond the public ones: held to the library's own model in the same way."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.interop.family import read_family
from blueprint.interop.solve import solve
from tests.parity.checks import Case, Checks, imported
from tests.parity.public import made

SIZE = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
BASE = {**SIZE, "intermediate_size": 40, "max_position_embeddings": 64, "num_experts_per_tok": 2}
FINE = {**BASE, "moe_intermediate_size": 24}

NEAR, ALL = "sliding_attention", "full_attention"
#: Experts in groups, some of them shared.
SCORED = {**FINE, "n_routed_experts": 6, "n_group": 3, "topk_group": 2}
BESIDE = {**SCORED, "first_k_dense_replace": 1, "n_shared_experts": 2}
WINDOWED = {"sliding_window": 8, "layer_types": [NEAR, NEAR, ALL]}

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
        {**BASE, "num_local_experts": 5, "shared_intermediate_size": 20, "router_aux_loss_coef": 0.0},
    ),
    "granitemoeshared, nothing shared": ("GraniteMoeShared", {**BASE, "num_local_experts": 5}),
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
            "moe_layer_start_index": 0,
            "moe_layer_end_index": 1,
            "use_bias": True,
            "tie_word_embeddings": False,
        },
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
        {**FINE, **WINDOWED, "num_experts": 5, "mlp_layer_types": ["dense", "sparse", "sparse"]},
    ),
    "mimo_v2_flash": ("MiMoV2Flash", {**SCORED, **WINDOWED, "head_dim": 24, "v_head_dim": 10}),
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

    def test_a_config_of_it_is_had_from_the_spec_alone(self, case: Case) -> None:
        """What the family says of the model was solved for, and fills to the same plan."""
        family = json.loads((case.written / "import.json").read_text())["family"]
        spec = bp.load(case.written / "spec.yaml")
        assert solve(spec, read_family(family)).plan.hash == bp.plan(spec).hash
