"""The other libraries that the speed benchmarks compare with, each with the same network.

    transformers        `eager` and `sdpa`, its two ways to compute attention on a CPU; its own `generate`
    LitGPT              its `GPT` and `generate`, weights copied from ours
    x-transformers      its `TransformerWrapper` and `AutoregressiveWrapper`, flash attention; same shape, own weights

LitGPT pins an older huggingface_hub than transformers wants, so that pip finds no environment for both; of it only the
model and its loop are used, which need neither: `make bench` installs it without its dependencies.
"""

from __future__ import annotations

import copy
import tempfile
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from llama_shape import D_FF, D_MODEL, HEADS, KV_HEADS, LAYERS, LENGTH, VOCABULARY
from torch import Tensor, nn

import blueprint as bp

LITGPT, X_TRANSFORMERS = "LitGPT", "x-transformers"
WAYS = ("eager", "sdpa")
TRANSFORMERS = tuple(f"transformers, {way}" for way in WAYS)
_MODULES = {LITGPT: "litgpt", X_TRANSFORMERS: "x_transformers"}


def lacking() -> list[str]:
    """The peers that are not installed."""
    return [name for name, module in _MODULES.items() if find_spec(module) is None]


def both(make: Any, config: Any) -> dict[str, nn.Module]:
    """The network of a class of transformers, once for each way of attention, with the same weights in both."""
    first: nn.Module | None = None
    found: dict[str, nn.Module] = {}
    for name, way in zip(TRANSFORMERS, WAYS, strict=True):
        said = copy.deepcopy(config)
        said._attn_implementation = way
        model = make(said).float()
        if first is not None:
            model.load_state_dict(first.state_dict())
        found[name], first = model, model
    return found


def ours_of(theirs: nn.Module) -> nn.Module:
    """Our model with the weights of one of transformers', by way of a checkpoint of the hub."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        _, model = bp.import_hf(folder)
    return model


def litgpt(ours: nn.Module) -> nn.Module:
    """LitGPT's network in the shape of Llama, with our weights."""
    from litgpt.config import Config
    from litgpt.model import GPT

    sizes = {"n_layer": LAYERS, "n_embd": D_MODEL, "n_head": HEADS, "n_query_groups": KV_HEADS}
    vocabulary = {"vocab_size": VOCABULARY, "padded_vocab_size": VOCABULARY, "block_size": LENGTH}
    norm = {"norm_class_name": "RMSNorm", "norm_eps": 1e-6, "parallel_residual": False, "bias": False}
    mlp = {"mlp_class_name": "LLaMAMLP", "intermediate_size": D_FF, "rotary_percentage": 1.0}
    model = GPT(Config(**sizes, **vocabulary, **norm, **mlp))
    said = ours.state_dict()
    names = {"lm_head": "head", "transformer.wte": "embedding.tokens", "transformer.ln_f": "norm"}
    for i in range(LAYERS):
        before, after = f"layers.{i}", f"transformer.h.{i}"
        names |= {f"{after}.norm_1": f"{before}.attention_norm", f"{after}.norm_2": f"{before}.feed_forward_norm"}
        names |= {f"{after}.attn.proj": f"{before}.attention.o", f"{after}.mlp.proj": f"{before}.feed_forward.down"}
        names |= {f"{after}.mlp.fc_1": f"{before}.feed_forward.gate", f"{after}.mlp.fc_2": f"{before}.feed_forward.up"}
    weights = {f"{name}.weight": said[f"{own}.weight"] for name, own in names.items()}
    for i in range(LAYERS):
        parts = [said[f"layers.{i}.attention.{name}.weight"] for name in "qkv"]
        weights[f"transformer.h.{i}.attn.qkv.weight"] = torch.cat(parts)
    model.load_state_dict(weights)
    return model


def x_transformers() -> nn.Module:
    """The network of x-transformers in the shape of Llama; its rotations pair neighbours, its norms scale by 1 + w."""
    from x_transformers import Decoder, TransformerWrapper
    from x_transformers.x_transformers import GLU

    attention = {"attn_dim_head": D_MODEL // HEADS, "attn_kv_heads": KV_HEADS, "attn_flash": True}
    rotary = {"rotary_pos_emb": True, "rotary_emb_dim": D_MODEL // HEADS, "use_rmsnorm": True}
    mlp = {"ff_glu": True, "ff_swish": True, "ff_no_bias": True, "ff_mult": D_FF / D_MODEL}
    layers = Decoder(dim=D_MODEL, depth=LAYERS, heads=HEADS, verbose=False, **attention, **rotary, **mlp)
    for layer in layers.modules():
        if isinstance(layer, GLU):
            layer.proj.bias = None  # which `ff_no_bias` leaves
    return TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=LENGTH, use_abs_pos_emb=False, attn_layers=layers)


def plain_loss(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """The cross-entropy of a peer's logits, as each of these libraries computes it itself."""
    out = model(ids_BT)
    logits_BTV = out if isinstance(out, Tensor) else out.logits
    return F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten())


def same_size(models: dict[str, nn.Module]) -> bool:
    """Whether all hold as many trained numbers."""
    return len({sum(p.numel() for p in model.parameters()) for model in models.values()}) == 1
