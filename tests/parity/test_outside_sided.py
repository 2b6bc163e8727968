"""Encoders, encoder-decoders and models of images that were not in the list: some ship as families, the others are
brought in as anyone would, by a family file of their own (`--family`, here in `outside/`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.checks import Case, Checks, imported
from tests.parity.public import made

BERT: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "layer_norm_eps": 1e-3,
}
BART: dict[str, Any] = {
    "vocab_size": 101,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 40,
}
T5: dict[str, Any] = {
    "vocab_size": 101,
    "d_model": 32,
    "d_kv": 6,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}
VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-3,
    "image_size": 16,
    "patch_size": 4,
}
DINO = {key: value for key, value in VIT.items() if key != "intermediate_size"}
SIGLIP: dict[str, Any] = {"text_config": {**BERT, "max_position_embeddings": 14}, "vision_config": VIT}
CLIP: dict[str, Any] = {
    "projection_dim": 20,
    "text_config": {**BERT, "eos_token_id": 97},
    "vision_config": {**VIT, "hidden_size": 24},
}


def said(name: str, model: str, config: dict[str, Any], kind: str = "encoder", **more: Any) -> dict[str, Any]:
    """An entry like those of the public families."""
    return {"config_class": f"{name}Config", "model_class": f"{name}{model}", "kind": kind, "config": config, **more}


IMAGES = "ForImageClassification"
MASKED, SUMS, CLASSES = "ForMaskedLM", "ForConditionalGeneration", "ForSequenceClassification"
CASES: dict[str, dict[str, Any]] = {
    "bert_classes": said("Bert", CLASSES, {**BERT, "num_labels": 5}, "classes"),
    "bert_bare": said("Bert", "Model", BERT, bare=True),
    "roberta": said("Roberta", MASKED, BERT),
    "roberta_classes": said("Roberta", CLASSES, {**BERT, "num_labels": 5, "type_vocab_size": 1}, "classes"),
    "roberta_bare": said("Roberta", "Model", BERT, bare=True),
    "xlm_roberta": said("XLMRoberta", MASKED, BERT),
    "camembert": said("Camembert", MASKED, {**BERT, "type_vocab_size": 1}),
    "xlm_roberta_xl": said("XLMRobertaXL", MASKED, BERT),
    "roberta_prelayernorm": said("RobertaPreLayerNorm", MASKED, BERT),
    "ernie": said("Ernie", MASKED, BERT),
    "electra": said("Electra", MASKED, {**BERT, "embedding_size": 16}),
    "electra_classes": said("Electra", CLASSES, {**BERT, "embedding_size": 16, "num_labels": 5}, "classes"),
    "electra_bare": said("Electra", "Model", BERT | {"embedding_size": 32}, bare=True),
    "mpnet": said("MPNet", MASKED, BERT),
    "mpnet_bare": said("MPNet", "Model", BERT, bare=True),
    "megatron_bert": said("MegatronBert", MASKED, BERT),
    "roformer": said("RoFormer", MASKED, {**BERT, "embedding_size": 16}),
    "nomic_bert": said("NomicBert", MASKED, BERT),
    "nomic_bert_bare": said("NomicBert", "Model", BERT, bare=True),
    "eurobert": said(
        "EuroBert",
        MASKED,
        {
            **{key: value for key, value in BERT.items() if key != "layer_norm_eps"},
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-3,
            "attention_bias": True,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
    ),
    "rembert": said("RemBert", MASKED, {**BERT, "input_embedding_size": 16, "output_embedding_size": 24}),
    "esm": said(
        "Esm",
        MASKED,
        {**BERT, "position_embedding_type": "rotary", "pad_token_id": 1, "emb_layer_norm_before": True},
        unused=13,
    ),
    "xlm": said(
        "XLM",
        "WithLMHeadModel",
        {"vocab_size": 101, "emb_dim": 32, "n_layers": 3, "n_heads": 4, "max_position_embeddings": 40, "n_langs": 1},
    ),
    "pegasus": said("Pegasus", SUMS, {**BART, "scale_embedding": True, "activation_function": "relu"}, "seq2seq"),
    "blenderbot": said("Blenderbot", SUMS, BART, "seq2seq"),
    "m2m_100": said("M2M100", SUMS, {**BART, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}, "seq2seq"),
    "plbart": said("PLBart", SUMS, BART, "seq2seq"),
    "umt5": said("UMT5", SUMS, {**T5, "feed_forward_proj": "gated-gelu"}, "seq2seq"),
    "mt5": said("MT5", SUMS, T5, "seq2seq"),
    "deit": said("DeiT", IMAGES, {**VIT, "num_labels": 5}, "vision"),
    "deit_bare": said("DeiT", "Model", {**VIT, "qkv_bias": False}, "vision", bare=True),
    "vit_msn": said("ViTMSN", IMAGES, {**VIT, "num_labels": 5}, "vision"),
    "dinov2": said("Dinov2", IMAGES, {**DINO, "num_labels": 5}, "vision", unused=32),
    "dinov2_bare": said(
        "Dinov2", "Model", {**DINO, "use_swiglu_ffn": True, "mlp_ratio": 3}, "vision", bare=True, unused=32
    ),
    "dinov2_registers": said("Dinov2WithRegisters", IMAGES, {**DINO, "num_labels": 5}, "vision", unused=32),
    "siglip": said("Siglip", "Model", SIGLIP, "clip", pads=False),
    "chinese_clip": said("ChineseCLIP", "Model", {**CLIP, "text_config": BERT}, "clip"),
    "metaclip_2": said("MetaClip2", "Model", CLIP, "clip"),
}


def inputs(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """What a model of a kind is run on."""
    random = torch.Generator().manual_seed(7)
    found: dict[str, Any] = {}
    if kind in ("vision", "clip"):
        size = config.get("vision_config", config)["image_size"]
        pixels = torch.randn(2, 3, size, size, generator=random)
        found["pixel_values"] = {"values": pixels.flatten().tolist(), "shape": list(pixels.shape)}
    if kind != "vision":
        found["input_ids"] = torch.randint(3, 100, (2, 14), generator=random).tolist()
    if kind == "seq2seq":
        found["decoder_input_ids"] = torch.randint(3, 100, (2, 9), generator=random).tolist()
    return found


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    entry = dict(CASES[request.param])
    entry["inputs"] = inputs(entry["kind"], entry["config"])
    own = Path(__file__).with_name("outside") / f"{request.param}.yaml"
    folder = tmp_path_factory.mktemp(request.param)
    return imported(made(request.param, entry), folder, own if own.is_file() else None)


class TestSided(Checks):
    """Everything that holds of families, of these."""
