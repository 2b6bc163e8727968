"""Encoders as the transformers library computes them, on the same weights: every tensor of a reference is used once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp

LENGTH, PADDED = 20, 7
LAYER: dict[str, Any] = {"type": "layer", "eps": 1e-12}
SIZES: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 40,
}
OURS: dict[str, Any] = {"type": "encoder", "vocab_size": 101, "d_model": 48, "layers": 4, "max_length": 40}

BERT: dict[str, Any] = {
    **OURS,
    "norm": LAYER,
    "embedding": {"positions": "learned", "token_types": 2, "norm": LAYER, "dropout": 0.1},
    "block": {
        "placement": "post",
        "attention": {"heads": 4, "bias": True, "position": "none"},
        "feed_forward": {"type": "mlp", "d_ff": 80, "bias": True},
        "dropout": 0.1,
    },
    "final_norm": None,
}
EMBEDDINGS = {
    "embedding.tokens": "embeddings.word_embeddings",
    "embedding.positions": "embeddings.position_embeddings",
    "embedding.token_types": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
}
BERT_NAMES = {
    **EMBEDDINGS,
    "layers.{i}.attention.q": "encoder.layer.{i}.attention.self.query",
    "layers.{i}.attention.k": "encoder.layer.{i}.attention.self.key",
    "layers.{i}.attention.v": "encoder.layer.{i}.attention.self.value",
    "layers.{i}.attention.o": "encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.feed_forward.up": "encoder.layer.{i}.intermediate.dense",
    "layers.{i}.feed_forward.down": "encoder.layer.{i}.output.dense",
    "layers.{i}.feed_forward_norm": "encoder.layer.{i}.output.LayerNorm",
}
GROUP = "encoder.albert_layer_groups.{i}.albert_layers.0"
ALBERT_NAMES = {
    **EMBEDDINGS,
    "embedding.projection": "encoder.embedding_hidden_mapping_in",
    "layers.{i}.attention.q": f"{GROUP}.attention.query",
    "layers.{i}.attention.k": f"{GROUP}.attention.key",
    "layers.{i}.attention.v": f"{GROUP}.attention.value",
    "layers.{i}.attention.o": f"{GROUP}.attention.dense",
    "layers.{i}.attention_norm": f"{GROUP}.attention.LayerNorm",
    "layers.{i}.feed_forward.up": f"{GROUP}.ffn",
    "layers.{i}.feed_forward.down": f"{GROUP}.ffn_output",
    "layers.{i}.feed_forward_norm": f"{GROUP}.full_layer_layer_norm",
}


def randomised(model: nn.Module) -> nn.Module:
    """The model with every parameter and floating buffer drawn anew, seeded by its name."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
                drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
                tensor.copy_(1 + 0.3 * drawn if "norm" in name.lower() and name.endswith("weight") else 0.15 * drawn)
    return model.eval()


def reference(name: str, **config: Any) -> nn.Module:
    import transformers

    family = re.sub("For.*", "", name)
    settings = getattr(transformers, f"{family}Config")(**SIZES, **config, attn_implementation="eager")
    made = getattr(transformers, name)(settings)
    # Rotary frequencies are computed, not learned: random ones would be another model.
    kept = {name: buffer.clone() for name, buffer in made.named_buffers() if "inv_freq" in name}
    randomised(made)
    for buffer, value in kept.items():
        made.get_buffer(buffer).copy_(value)
    return made


def filled(said: Mapping[str, Any], theirs: nn.Module, names: Mapping[str, str], prefix: str) -> nn.Module:
    """Our model with their weights, by renaming alone; every parameter of either is used exactly once."""
    ours = bp.build(bp.load({"model": dict(said)})).eval()
    state = dict(theirs.named_parameters())
    used: dict[str, Tensor] = {}
    for name, _ in ours.named_parameters():
        path, _, own = name.rpartition(".")
        layer = re.search(r"\d+", path)
        source = names[re.sub(r"\d+", "{i}", path)].replace("{i}", layer[0] if layer else "")
        inside = source if source.startswith("^") else f"{prefix}.{source}"
        used[name] = state.pop(f"{inside.removeprefix('^')}.{own}")
    assert not state, f"not used: {sorted(state)}"
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(used[name].reshape(parameter.shape))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    return ours


def agree(ours: nn.Module, theirs: nn.Module, *, types: bool = True) -> None:
    """Logits differ by at most 2e-5 of their spread, with and without padding on the right."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, SIZES["vocab_size"], (3, LENGTH), generator=generator)
    said = {"token_type_ids": torch.randint(0, 2, ids.shape, generator=generator)} if types else {}
    mask = torch.ones_like(ids)
    mask[1, -PADDED:] = 0
    for keep in (torch.ones_like(ids), mask):
        with torch.no_grad():
            expected, found = (model(ids, keep, **said).logits for model in (theirs, ours))
        if expected.dim() == 3:
            expected, found = expected[keep.bool()], found[keep.bool()]
        error = ((found - expected).abs().max() / expected.std()).item()
        assert error <= 2e-5, f"{error:.2e} of the logits' spread"


def test_bert_for_masked_tokens() -> None:
    theirs = reference("BertForMaskedLM", hidden_act="gelu")
    said = {**BERT, "head": {"type": "masked_language_model", "tie": True}}
    names = {
        **BERT_NAMES,
        "head.transform.dense": "^cls.predictions.transform.dense",
        "head.transform.norm": "^cls.predictions.transform.LayerNorm",
        "head.output": "^cls.predictions",
    }
    agree(filled(said, theirs, names, "bert"), theirs)


@pytest.mark.parametrize("labels", [2, 5])
def test_bert_for_classification(labels: int) -> None:
    theirs = reference("BertForSequenceClassification", num_labels=labels)
    said = {**BERT, "head": {"type": "classification", "labels": labels, "activation": "tanh", "dropout": 0.1}}
    names = {**BERT_NAMES, "head.pooling.transform.dense": "pooler.dense", "head.output": "^classifier"}
    agree(filled(said, theirs, names, "bert"), theirs)


@pytest.mark.parametrize(("groups", "share"), [(1, [0, 0, 0, 0]), (2, [0, 0, 1, 1])])
def test_albert_for_masked_tokens(groups: int, share: list[int]) -> None:
    theirs = reference("AlbertForMaskedLM", embedding_size=20, num_hidden_groups=groups, hidden_act="gelu_new")
    tanh = {"block": {**BERT["block"], "feed_forward": {**BERT["block"]["feed_forward"], "activation": "gelu_tanh"}}}
    head = {"type": "masked_language_model", "tie": True, "activation": "gelu_tanh"}
    said = {**BERT, **tanh, "share": share, "embedding": {**BERT["embedding"], "width": 20}, "head": head}
    names = {
        **ALBERT_NAMES,
        "head.transform.dense": "^predictions.dense",
        "head.transform.norm": "^predictions.LayerNorm",
        "head.output": "^predictions",
    }
    # Their groups count from 0; ours are called by the first layer that uses them.
    first = {share.index(group): group for group in share}
    renamed = {
        name.replace("{i}", str(layer)): source.replace("{i}", str(group))
        for layer, group in first.items()
        for name, source in names.items()
    }
    ours = bp.build(bp.load({"model": said})).eval()
    numbered = {re.sub(r"\.(weight|bias)$", "", name) for name, _ in ours.named_parameters()}
    assert numbered == set(renamed)
    state, prefix = dict(theirs.named_parameters()), "albert."
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            path, _, own = name.rpartition(".")
            source = renamed[path]
            parameter.copy_(state.pop(f"{source[1:] if source[0] == '^' else prefix + source}.{own}"))
    assert not state
    agree(ours, theirs)


@pytest.mark.parametrize("window", [8, 16])
def test_modern_bert_for_masked_tokens(window: int) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    theirs = reference(
        "ModernBertForMaskedLM", local_attention=window, layer_types=kinds, pad_token_id=0, reference_compile=False
    )
    norm = {"type": "layer", "eps": 1e-5, "bias": False}
    said = {
        **OURS,
        "norm": norm,
        "embedding": {"norm": norm},
        "block": {"attention": {"heads": 4}, "feed_forward": {"type": "gated", "d_ff": 80, "activation": "gelu"}},
        "blocks": {
            "global": {"attention": {"position": {"type": "rope", "theta": 160000.0}}},
            "local": {"attention": {"mask": {"type": "sliding", "window": window // 2}}},
        },
        "pattern": ["global", "local", "local"],
        "overrides": {"0": {"attention_norm": None}},
        "head": {"type": "masked_language_model", "tie": True, "dense_bias": False},
    }
    ours = bp.build(bp.load({"model": said})).eval()
    state = dict(theirs.named_parameters())
    names = {
        "embedding.tokens": "model.embeddings.tok_embeddings",
        "embedding.norm": "model.embeddings.norm",
        "norm": "model.final_norm",
        "head.transform.dense": "head.dense",
        "head.transform.norm": "head.norm",
        "head.output": "decoder",
        "attention.o": "attn.Wo",
        "attention_norm": "attn_norm",
        "feed_forward_norm": "mlp_norm",
        "feed_forward.down": "mlp.Wo",
    }
    #: Their packed matrices, and which of their equal rows each of ours is.
    packed = {
        "attention.q": ("attn.Wqkv", 0, 3),
        "attention.k": ("attn.Wqkv", 1, 3),
        "attention.v": ("attn.Wqkv", 2, 3),
        "feed_forward.gate": ("mlp.Wi", 0, 2),
        "feed_forward.up": ("mlp.Wi", 1, 2),
    }
    used: set[str] = set()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            path, _, own = name.rpartition(".")
            layer = re.match(r"layers\.\d+\.", path)
            before, inner = ("", path) if layer is None else (f"model.{layer[0]}", path[layer.end() :])
            source, part, parts = packed.get(inner) or (names[inner], 0, 1)
            used.add(f"{before}{source}.{own}")
            parameter.copy_(state[f"{before}{source}.{own}"].chunk(parts)[part])
    assert used == set(state)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    agree(ours, theirs, types=False)
