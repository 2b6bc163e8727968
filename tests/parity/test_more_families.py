"""Families beyond the public ones, and other shapes of those: held to the library's own model in the same way."""

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

SIZE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {**SIZE, "intermediate_size": 80, "num_key_value_heads": 2, "max_position_embeddings": 64}
FOUR = {**LLAMA, "num_hidden_layers": 4}
NEAR, ALL = "sliding_attention", "full_attention"
SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
}
T5 = {"d_model": 32, "d_kv": 12, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
BERT = {**SIZE, "intermediate_size": 80, "max_position_embeddings": 40, "layer_norm_eps": 1e-3}
HALF = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

#: Names of the library's classes, less what they end in, with settings.
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": ("OPT", {**SIZE, "ffn_dim": 80, "max_position_embeddings": 64}),
    "opt, narrow": ("OPT", {**SIZE, "ffn_dim": 80, "word_embed_proj_dim": 20, "do_layer_norm_before": False}),
    "falcon": ("Falcon", SIZE),
    "falcon, grouped": ("Falcon", {**SIZE, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}),
    "falcon, one norm": (
        "Falcon",
        {**SIZE, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    "falcon, every head": ("Falcon", {**SIZE, "multi_query": False, "parallel_attn": False, "bias": True}),
    "gptj": ("GPTJ", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 8}),
    "gpt_bigcode": ("GPTBigCode", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt_bigcode, every head": (
        "GPTBigCode",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "multi_query": False},
    ),
    "mpt": ("Mpt", {"d_model": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 64, "attn_config": {"clip_qkv": 1.5}}),
    "starcoder2": ("Starcoder2", {**LLAMA, "norm_epsilon": 1e-3, "sliding_window": 8}),
    "stablelm": ("StableLm", {**LLAMA, "use_qkv_bias": True, "rope_parameters": HALF}),
    "stablelm, normed": (
        "StableLm",
        {**LLAMA, "qk_layernorm": True, "use_parallel_residual": True, "rope_parameters": HALF},
    ),
    "smollm3": ("SmolLM3", {**FOUR, "no_rope_layer_interval": 2}),
    "smollm3, windows": ("SmolLM3", {**FOUR, "use_sliding_window": True, "sliding_window": 8}),
    "glm": ("Glm", {**LLAMA, "head_dim": 16}),
    "glm4": ("Glm4", {**LLAMA, "head_dim": 16}),
    "gemma": ("Gemma", {**LLAMA, "head_dim": 16}),
    "cohere2": ("Cohere2", {**FOUR, "sliding_window": 8, "layer_types": [NEAR, ALL] * 2}),
    "olmo3": ("Olmo3", {**FOUR, "sliding_window": 8, "layer_types": [NEAR, NEAR, NEAR, ALL]}),
    "exaone4": ("Exaone4", {**FOUR, "sliding_window": 8, "layer_types": [NEAR, NEAR, NEAR, ALL]}),
    "exaone4, no windows": ("Exaone4", {**LLAMA, "sliding_window": None, "layer_types": [ALL, ALL]}),
}
SEQ2SEQ: dict[str, tuple[str, dict[str, Any]]] = {
    "t5, gated": (
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5ForConditionalGeneration", {**T5, "num_layers": 3, "num_decoder_layers": 2}),
    "mbart": ("MBartForConditionalGeneration", {**SMALL, "scale_embedding": True}),
    "pegasus": ("PegasusForConditionalGeneration", {**SMALL, "scale_embedding": True}),
    "marian, two tables": ("MarianMTModel", {**SMALL, "share_encoder_decoder_embeddings": False}),
}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "electra": ("ElectraForMaskedLM", {**BERT, "embedding_size": 20}),
    "electra, wide": ("ElectraForMaskedLM", {**BERT, "embedding_size": 48}),
    "roberta": ("RobertaForMaskedLM", {**BERT, "pad_token_id": 1}),
    "roberta, classes": ("RobertaForSequenceClassification", {**BERT, "pad_token_id": 1, "num_labels": 3}),
    "bert, tags": ("BertForTokenClassification", {**BERT, "num_labels": 5}),
    "roberta, tags": ("RobertaForTokenClassification", {**BERT, "pad_token_id": 1, "num_labels": 3}),
    "electra, tags": ("ElectraForTokenClassification", {**BERT, "embedding_size": 20, "num_labels": 4}),
    "distilbert": ("DistilBertForMaskedLM", {"dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 80}),
    "deberta_v2, own projections": (
        "DebertaV2ForMaskedLM",
        {
            **BERT,
            "relative_attention": True,
            "pos_att_type": "p2c|c2p",
            "position_buckets": 12,
            "norm_rel_ebd": "layer_norm",
            "type_vocab_size": 2,
        },
    ),
}
ENTRIES = {
    **{name: ("causal", f"{stem}ForCausalLM", config) for name, (stem, config) in CAUSAL.items()},
    **{name: ("seq2seq", *said) for name, said in SEQ2SEQ.items()},
    **{name: ("encoder", *said) for name, said in ENCODERS.items()},
}


def entry(name: str) -> dict[str, Any]:
    import transformers

    kind, model_class, config = ENTRIES[name]
    common = {"vocab_size": 101, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_vocab_size": 101}
    if "Marian" not in model_class:
        del common["decoder_vocab_size"]
    config_class = getattr(transformers, model_class).config_class.__name__
    return {"config_class": config_class, "model_class": model_class, "kind": kind, "config": {**common, **config}}


@pytest.fixture(scope="module", params=ENTRIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    said = entry(request.param)
    random = torch.Generator().manual_seed(11)
    inputs = {"input_ids": torch.randint(3, 100, (2, 24), generator=random).tolist()}
    if said["kind"] == "seq2seq":
        inputs["decoder_input_ids"] = torch.randint(3, 100, (2, 12), generator=random).tolist()
    return imported(made(request.param, {**said, "inputs": inputs}), tmp_path_factory.mktemp("family"))


class TestMore(Checks):
    """Everything that holds of families, of these."""

    def test_a_config_of_it_is_had_from_the_spec_alone(self, case: Case) -> None:
        """What the family says of the model was solved for, and fills to the same plan."""
        family = json.loads((case.written / "import.json").read_text())["family"]
        spec = bp.load(case.written / "spec.yaml")
        assert solve(spec, read_family(family)).plan.hash == bp.plan(spec).hash
