"""Specs of papers, made small, are the specs that agree with the transformers library, part for part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml

import blueprint as bp
from blueprint.diff import diff
from tests.conftest import ROOT
from tests.parity.families import FAMILIES
from tests.parity.reference import LENGTH, VOCABULARY
from tests.parity.test_encoder_decoders import FAMILIES as ENCODER_DECODERS
from tests.parity.test_encoders import BERT, BERT_NAMES, filled, randomised
from tests.parity.test_encoders import LENGTH as TOKENS

PAPERS = ROOT / "specs" / "papers"
LAYERS, BLOCK = "model.layers", "model.block"
GPT = {"model.d_model": 32, LAYERS: 3, "model.norm.eps": 1e-3, f"{BLOCK}.attention.heads": 4}
LLAMA = {
    "model.d_model": 48,
    LAYERS: 2,
    "model.norm.eps": 1e-3,
    f"{BLOCK}.attention.heads": 4,
    f"{BLOCK}.attention.kv_heads": 2,
    f"{BLOCK}.feed_forward.d_ff": 80,
}
WIDE = {**LLAMA, f"{BLOCK}.attention.head_dim": 16}
GEMMA = {**WIDE, LAYERS: 4, f"{BLOCK}.attention.scale": "1 / sqrt(24)", "model.blocks.local.attention.mask.window": 8}
THETA = f"{BLOCK}.attention.position.theta"
WINDOW = f"{BLOCK}.attention.mask.window"

#: A paper's spec, the family that it belongs to, and the sizes and numbers of that family's small model. Whatever is
#: not a size (which parts, where they stand, what they are told by name) is the spec's own.
SMALL: list[tuple[str, str, dict[str, Any]]] = [
    *((name, "gpt2", GPT) for name in ("gpt2", "gpt2_medium", "gpt2_large", "gpt2_xl", "gpt3_175b")),
    ("bloom_176b", "bloom", {**GPT, "model.d_model": 48, f"{BLOCK}.attention.heads": 6}),
    ("llama_7b", "llama", WIDE),
    ("llama3_8b", "llama", {**WIDE, THETA: 10000}),
    ("llama3_70b", "llama", {**WIDE, THETA: 10000}),
    ("mistral_7b", "mistral", {**WIDE, WINDOW: 8}),
    ("qwen3_8b", "qwen3", {**WIDE, THETA: 10000}),
    ("phi3_mini", "phi3", {**LLAMA, WINDOW: 10}),
    ("olmo2_7b", "olmo2", {**LLAMA, THETA: 10000}),
    ("gemma2_9b", "gemma2", {**GEMMA, f"{BLOCK}.attention.softcap": 5, "model.head.softcap": 10}),
    (
        "gemma3_4b",
        "gemma3",
        {
            **GEMMA,
            "model.pattern": "[local, local, global, local]",
            THETA: 1000,
            "model.blocks.global.attention.position": "{theta: 100000, scaling: null}",
        },
    ),
]


@pytest.mark.parametrize(("name", "family", "sizes"), SMALL, ids=[name for name, *_ in SMALL])
def test_a_small_decoder_of_a_paper_is_its_family(name: str, family: str, sizes: dict[str, Any]) -> None:
    sizes = {"model.vocab_size": VOCABULARY, "model.max_length": LENGTH, **sizes}
    ours = bp.load(PAPERS / f"{name}.yaml", overrides=[f"{key}={value}" for key, value in sizes.items()])
    section = {"type": "decoder", "vocab_size": VOCABULARY, "max_length": LENGTH}
    theirs = bp.load({"model": {**section, **yaml.safe_load(FAMILIES[family].model)}})
    found = diff(theirs, ours)
    assert not found.architecture, str(found)


#: An encoder's spec, the library's model and what its configuration must say.
ENCODERS: list[tuple[str, str, dict[str, Any]]] = [
    ("bert_base", "Bert", {}),
    ("bert_large", "Bert", {}),
    ("roberta_large", "Roberta", {"type_vocab_size": 1, "max_position_embeddings": 42, "layer_norm_eps": 1e-5}),
]
SMALL_BERT = {
    "model.vocab_size": 101,
    "model.d_model": 48,
    LAYERS: 4,
    "model.max_length": 40,
    f"{BLOCK}.attention.heads": 4,
    f"{BLOCK}.feed_forward.d_ff": 80,
}


@pytest.mark.parametrize(("name", "family", "config"), ENCODERS, ids=[name for name, *_ in ENCODERS])
@torch.no_grad()
def test_a_small_encoder_of_a_paper_pools_as_the_librarys(name: str, family: str, config: dict[str, Any]) -> None:
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": 101,
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 80,
        "max_position_embeddings": 40,
        "attn_implementation": "eager",
    }
    made = getattr(transformers, f"{family}Config")(**{**sizes, **config})
    theirs = randomised(getattr(transformers, f"{family}Model")(made))
    small = bp.load(PAPERS / f"{name}.yaml", overrides=[f"{key}={value}" for key, value in SMALL_BERT.items()])
    names = {ours: f"^{source}" for ours, source in BERT_NAMES.items()} | {"head.transform.dense": "^pooler.dense"}
    ours = filled(small.to_plain()["model"], theirs, names, "")
    ids = torch.randint(2, 101, (3, TOKENS), generator=torch.Generator().manual_seed(0))
    expected, found = theirs(ids).pooler_output, ours(ids).logits
    assert (found - expected).abs().max() <= 2e-5 * expected.std()


#: What other encoders say beside BERT's layer: the parts that are theirs.
BESIDE_BERT: list[tuple[str, dict[str, Any]]] = [
    ("bert_base", {"head": "pooler"}),
    (
        "albert_base",
        {
            "share": [0, 0, 0, 0],
            "embedding": {**BERT["embedding"], "width": 20},
            "block": {**BERT["block"], "feed_forward": {**BERT["block"]["feed_forward"], "activation": "gelu_tanh"}},
            "head": "pooler",
        },
    ),
    (
        "distilbert",
        {"embedding": {**BERT["embedding"], "token_types": None}, "head": {"type": "pooler", "activation": None}},
    ),
]


@pytest.mark.parametrize(("name", "said"), BESIDE_BERT, ids=[name for name, _ in BESIDE_BERT])
def test_a_small_encoder_of_a_paper_is_built_as_the_one_in_parity(name: str, said: dict[str, Any]) -> None:
    small = dict(SMALL_BERT)
    if name == "albert_base":
        small |= {"model.share": "[0, 0, 0, 0]", "model.embedding.width": 20}
    ours = bp.load(PAPERS / f"{name}.yaml", overrides=[f"{key}={value}" for key, value in small.items()])
    found = diff(bp.load({"model": {**BERT, **said}}), ours)
    assert not found.architecture, str(found)


T5 = {
    "model.d_model": 32,
    "model.norm.eps": 1e-3,
    "model.encoder.layers": 3,
    "model.decoder.layers": 2,
    f"{BLOCK}.attention.heads": 4,
    f"{BLOCK}.attention.head_dim": 12,
    f"{BLOCK}.attention.position.buckets": 8,
    f"{BLOCK}.attention.position.max_distance": 16,
    f"{BLOCK}.feed_forward.d_ff": 48,
}
BART = {
    "model.d_model": 32,
    "model.max_length": 40,
    "model.encoder": "{layers: 3, block: {attention: {heads: 4}, feed_forward: {d_ff: 48}}}",
    "model.decoder": "{layers: 2, block: {attention: {heads: 2}, feed_forward: {d_ff: 40}}}",
    # The family's small model scales what is embedded, which the released one does not; a bias of noughts that is never
    # trained is the library's own.
    "model.embedding.scale": "sqrt(d_model)",
    "model.head.bias": "fixed",
}
#: As `SMALL`, for two sides. (The Transformer of 2017 is in `test_transformer.py`: the library has none.)
SMALL_SIDES: list[tuple[str, str, dict[str, Any]]] = [
    *((name, "t5", T5) for name in ("t5_small", "t5_base", "t5_11b")),
    ("t5_v1_1_base", "t5_v1.1", {**T5, "model.head.tie": "true"}),  # the library ties it whatever is said
    ("bart_large", "bart", BART),
]


@pytest.mark.parametrize(("name", "family", "sizes"), SMALL_SIDES, ids=[name for name, *_ in SMALL_SIDES])
def test_a_small_encoder_decoder_of_a_paper_is_its_family(name: str, family: str, sizes: dict[str, Any]) -> None:
    sizes = {"model.vocab_size": VOCABULARY, **sizes}
    ours = bp.load(PAPERS / f"{name}.yaml", overrides=[f"{key}={value}" for key, value in sizes.items()])
    section = {"type": "encoder_decoder", "vocab_size": VOCABULARY}
    theirs = bp.load({"model": {**section, **yaml.safe_load(ENCODER_DECODERS[family].model)}})
    found = diff(theirs, ours)
    assert not found.architecture, str(found)
