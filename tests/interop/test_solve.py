"""A config can be had from a spec again, as it was where it came from one; what a family cannot say refuses."""

from __future__ import annotations

from typing import Any

import pytest

import blueprint as bp
from blueprint.interop.config import Config, FamilyError
from blueprint.interop.family import read_family
from blueprint.interop.solve import solve
from blueprint.interop.template import fill

SMALL = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
YARN = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 16, "original_max_position_embeddings": 32}
TURNS = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 8.0},
}
NEAR, ALL = "sliding_attention", "full_attention"
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL, "vocab_size": 11, "attention_bias": True},
    "llama, older": {"model_type": "llama", **SMALL, "rope_theta": 5e5, "rope_scaling": YARN},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_head": 4, "n_layer": 3, "activation_function": "gelu_fast"},
    "gpt2, by layer": {"model_type": "gpt2", "n_embd": 32, "n_head": 4, "scale_attn_by_inverse_layer_idx": True},
    "gemma3": {
        "model_type": "gemma3_text",
        **SMALL,
        "query_pre_attn_scalar": 24,
        "sliding_window": 8,
        "layer_types": [NEAR, NEAR, ALL, NEAR],
        "rope_parameters": TURNS,
        "final_logit_softcapping": 10.0,
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_comes_back(name: str) -> None:
    config = CONFIGS[name]
    family = read_family(config["model_type"])
    filled = fill(family, Config.of(config))
    # As it came, where it says the model already: in its own, perhaps older, words.
    assert solve(filled.spec, family, config).config.plain == config
    # And from nothing, and from the spec as a person has it.
    for spec in (filled.spec, bp.loads(filled.text)):
        assert solve(spec, family).plan.hash == filled.plan.hash


@pytest.mark.parametrize("name", CONFIGS)
def test_what_was_edited_is_said(name: str) -> None:
    """Of a spec that was changed after it came in, the config changes in what changed, and in nothing else."""
    config = CONFIGS[name]
    family = read_family(config["model_type"])
    edited = bp.loads(fill(family, Config.of(config)).text, ["model.vocab_size=77", "model.block.feed_forward.d_ff=40"])
    found = solve(edited, family, config).config.plain
    changed = {key for key in found if found[key] != config.get(key)}
    assert changed == {"vocab_size", "n_inner" if name.startswith("gpt2") else "intermediate_size"}


def test_kinds_of_layers_are_found() -> None:
    config = CONFIGS["gemma3"]
    family = read_family("gemma3_text")
    found = solve(fill(family, Config.of(config)).spec, family).config.plain
    assert found["layer_types"] == config["layer_types"]
    assert found["query_pre_attn_scalar"] == 24


EXPERTS = {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}


def test_which_layers_have_experts_is_found() -> None:
    """A list of the layers without, or how many the first of them are; a number is of the kind that is read."""
    config = {"model_type": "qwen3_moe", **EXPERTS, "mlp_only_layers": [1, 3], "router_aux_loss_coef": 0.0}
    family = read_family("qwen3_moe")
    found = solve(fill(family, Config.of(config)).spec, family).config.plain
    assert found["mlp_only_layers"] == [1, 3]
    assert type(found["router_aux_loss_coef"]) is float
    config = {"model_type": "glm4_moe", **EXPERTS, "n_routed_experts": 4, "first_k_dense_replace": 3}
    del config["num_local_experts"]
    family = read_family("glm4_moe")
    assert solve(fill(family, Config.of(config)).spec, family).config.plain["first_k_dense_replace"] == 3


def test_what_a_family_cannot_say_refuses_with_the_paths() -> None:
    family = read_family("llama")
    spec = fill(family, Config.of(CONFIGS["llama"])).text
    with pytest.raises(FamilyError) as caught:
        solve(bp.loads(spec, ["model.block.attention.softcap=5.0", "model.block.placement=sandwich"]), family)
    said = str(caught.value)
    assert "no config of the family `llama` says this model" in said
    assert "stacks.decoder.0.attention.softcap: 5.0 here, null there" in said
    assert "placement" in said


def test_a_model_of_ones_own_may_be_of_a_family() -> None:
    model = {
        "type": "decoder",
        "vocab_size": 300,
        "d_model": 64,
        "layers": 2,
        "max_length": 128,
        "block": {"attention": {"heads": 4, "kv_heads": 2}, "feed_forward": {"type": "gated", "d_ff": 96}},
    }
    spec = bp.load({"model": model})
    config = solve(spec, read_family("llama")).config.plain
    assert config["model_type"] == "llama"
    assert (config["hidden_size"], config["num_key_value_heads"], config["intermediate_size"]) == (64, 2, 96)
    assert config["hidden_act"] == "silu"


def test_without_a_family_one_is_found() -> None:
    for name in ("llama", "gpt2", "gemma3"):
        config = CONFIGS[name]
        spec = fill(read_family(config["model_type"]), Config.of(config)).spec
        found = solve(spec)
        assert found.plan.hash == bp.plan(spec).hash
    strange = {
        "type": "decoder",
        "vocab_size": 9,
        "d_model": 8,
        "layers": 1,
        "block": {"attention": {"heads": 1, "sinks": True}},
    }
    with pytest.raises(FamilyError, match="says this model; the nearest differs in"):
        solve(bp.load({"model": strange}))


def test_what_a_model_learned_by_need_not_be_sayable() -> None:
    """Dropout, initial weights, balances and room in training leave nothing in a model that has learned."""
    experts = {
        "type": "experts",
        "experts": 4,
        "router": {"type": "top_k", "renormalise": True},
        "balance": [{"type": "expert", "weight": 0.02}, "z"],
        "capacity": {"factor": 1.25},
    }
    model = {"type": "decoder", "d_model": 32, "layers": 2, "vocab_size": 11, "max_length": 16, "init": "scaled"}
    block = {"attention": {"heads": 4}, "feed_forward": experts, "dropout": 0.1}
    said = {"model": {**model, "block": block}}
    config = solve(bp.load(said), read_family("mixtral")).config.plain
    assert config["num_local_experts"] == 4
    experts["capacity"]["at_inference"] = True  # type: ignore[index]
    with pytest.raises(FamilyError, match="capacity"):
        solve(bp.load(said), read_family("mixtral"))
