"""What single families add to attention, as the transformers library computes it on the same weights: bounds, sinks,
temperatures, chunks, gates, inner norms, learned biases."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.kinds import Attention
from blueprint.ops import Flow

LENGTH, PADS = 19, 4
COMMON = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
    "attention_dropout": 0.0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
EPS = {"type": "rms", "eps": 1e-3}


@dataclass
class Family:
    """An attention of the library, what says the same here, and how far a query of it sees."""

    name: str
    config: dict[str, Any]
    said: dict[str, Any]
    layer: int = 0
    window: int | None = None
    chunk: int | None = None
    more: dict[str, Any] = field(default_factory=dict)  # further arguments of its constructor
    drop: tuple[str, ...] = ()  # settings of COMMON that its configuration does not take


CASES = {
    "olmo": Family("Olmo", {"clip_qkv": 0.8}, {"clip": 0.8}, drop=("rms_norm_eps",)),
    "olmoe": Family("Olmoe", {"clip_qkv": 0.8}, {"clip": 0.8, "qk_norm": {"over": "full", "norm": EPS}}),
    "gpt_oss": Family(
        "GptOss",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 5, "attention_bias": True},
        {"sinks": True, "bias": True, "mask": {"type": "sliding", "window": 5}},
        window=5,
    ),
    "gpt_oss, every key": Family(
        "GptOss",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 5, "attention_bias": True},
        {"sinks": True, "bias": True},
        layer=1,
    ),
    "llama4, rotated and chunked": Family(
        "Llama4Text",
        {"no_rope_layers": [1, 0], "attention_chunk_size": 7},
        {
            "position": {"type": "rope", "pairs": "interleaved"},
            "qk_norm": {"when": "after", "norm": {**EPS, "affine": False}},
            "mask": {"type": "chunked", "chunk": 7},
        },
        chunk=7,
    ),
    "llama4, without positions": Family(
        "Llama4Text",
        {"no_rope_layers": [1, 0], "floor_scale": 4, "attn_scale": 0.3},
        {"position": "none", "temperature": {"scale": 0.3, "floor": 4, "offset": 1}},
        layer=1,
    ),
    "afmoe": Family(
        "Afmoe",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 5},
        {"gate": {}, "qk_norm": {"norm": EPS}, "mask": {"type": "sliding", "window": 5}},
        window=5,
    ),
    "afmoe, every key": Family(
        "Afmoe",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 5},
        {"gate": {}, "qk_norm": {"norm": EPS}, "position": "none"},
        layer=1,
    ),
    "laguna": Family(
        "Laguna",
        {"layer_types": ["full_attention"] * 2, "gating": "per-head"},
        {"gate": {"per": "head", "activation": "softplus"}, "qk_norm": {"norm": EPS}},
        more={"num_heads": 6},
    ),
    "laguna, by element": Family(
        "Laguna",
        {"layer_types": ["full_attention"] * 2, "gating": "per-element"},
        {"gate": {"activation": "softplus"}, "qk_norm": {"norm": EPS}},
        more={"num_heads": 6},
    ),
    "bitnet": Family("BitNet", {}, {"inner_norm": EPS}, drop=("head_dim",)),
}
RENAMED = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "attn_sub_norm": "inner_norm"}
RENAMED |= {"gate_proj": "gate", "g_proj": "gate"}
MODULES = {"GptOss": "gpt_oss", "Llama4Text": "llama4"}


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Every tensor from a seed of its own, large enough to be bounded."""
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if "inv_freq" not in name:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
            value.copy_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)))


def agree(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).abs().max() <= 2e-5 * expected.std()


def hidden(keep: Tensor, family: Family) -> Tensor:
    """The mask to add: what is later, too far, in another chunk, or padding."""
    place = torch.arange(LENGTH)
    i, j = place[:, None], place[None, :]
    seen = j <= i
    if family.window is not None:
        seen = seen & (i - j < family.window)
    if family.chunk is not None:
        seen = seen & (i // family.chunk == j // family.chunk)
    return torch.zeros(2, 1, LENGTH, LENGTH).masked_fill(
        ~(seen & keep[:, None, None, :]), torch.finfo(torch.float32).min
    )


@pytest.mark.parametrize("family", CASES.values(), ids=CASES)
def test_it_is_the_familys_attention_with_padding_and_step_by_step(family: Family) -> None:
    folder = MODULES.get(family.name, family.name.lower())
    library = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
    common = {key: value for key, value in COMMON.items() if key not in family.drop}
    config = library.__dict__[f"{family.name}Config"](**common, **family.config, attn_implementation="eager")
    theirs = getattr(library, f"{family.name}Attention")(config, layer_idx=family.layer, **family.more).eval()
    randomise(theirs)

    at = Site(d_model=48, width=48, path="attention")
    ours = Attention.of({"type": "multi_head", "heads": 6, "kv_heads": 2, **family.said}).filled(at).build(at).eval()
    ours.load_state_dict(
        {".".join(RENAMED.get(step, step) for step in name.split(".")): v for name, v in theirs.state_dict().items()}
    )

    x_BTD = torch.randn(2, LENGTH, 48, generator=torch.Generator().manual_seed(1))
    keep = torch.ones(2, LENGTH, dtype=torch.bool)
    keep[1, -PADS:] = False
    angles = rotary(library, family, config)(x_BTD, torch.arange(LENGTH)[None])
    with torch.no_grad():
        expected = theirs(x_BTD, position_embeddings=angles, attention_mask=hidden(keep, family))[0]
        found, _ = ours(x_BTD, Flow.of(2, LENGTH, attention_mask=keep))
        agree(found[keep], expected[keep])
        state, seen, steps = ours.new_state(2, LENGTH), None, []
        for t in range(LENGTH):
            flow = Flow.of(2, 1, attention_mask=keep[:, t : t + 1], seen=seen)
            steps.append(ours(x_BTD[:, t : t + 1], flow, state)[0])
            seen = flow.seen
        agree(torch.cat(steps, 1)[keep], expected[keep])


def rotary(library: Any, family: Family, config: Any) -> Any:
    """The library's angles of positions; where a family has several kinds of layers, those of this one."""
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    if family.name != "Laguna":
        return getattr(library, f"{family.name}RotaryEmbedding")(config)
    from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding

    return LlamaRotaryEmbedding(LlamaConfig(hidden_size=48, num_attention_heads=6, head_dim=8, rope_parameters=plain))


@pytest.mark.parametrize("causal", [True, False])
def test_it_is_t5s_attention_with_its_learned_biases(causal: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention, T5Config

    config = T5Config(
        d_model=48,
        d_kv=8,
        num_heads=6,
        relative_attention_num_buckets=12,
        relative_attention_max_distance=11,
        is_decoder=causal,
        dropout_rate=0.0,
        attn_implementation="eager",
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).eval()
    randomise(theirs)
    at = Site(d_model=48, width=48, path="attention", causal=causal)
    position = {"type": "t5_bias", "buckets": 12, "max_distance": 11}
    said = {"type": "multi_head", "heads": 6, "scale": 1, "position": position}
    ours = Attention.of(said).filled(at).build(at).eval()
    renamed = {"relative_attention_bias.weight": "position.table.weight"}
    ours.load_state_dict({renamed.get(name, name): value for name, value in theirs.state_dict().items()})

    x_BTD = torch.randn(2, LENGTH, 48, generator=torch.Generator().manual_seed(1))
    keep = torch.ones(2, LENGTH, dtype=torch.bool)
    keep[1, -PADS:] = False
    seen = (
        torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril() if causal else torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    )
    least = torch.finfo(torch.float32).min
    mask = torch.zeros(2, 1, LENGTH, LENGTH).masked_fill(~(seen & keep[:, None, None, :]), least)
    with torch.no_grad():
        expected = theirs(x_BTD, mask=mask)[0]
        found, _ = ours(x_BTD, Flow.of(2, LENGTH, attention_mask=keep))
    agree(found[keep], expected[keep])


def test_qwen3_next_keeps_its_gate_beside_each_heads_queries() -> None:
    from transformers.models.qwen3_next.modeling_qwen3_next import (
        Qwen3NextAttention,
        Qwen3NextConfig,
        Qwen3NextRotaryEmbedding,
    )

    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    config = Qwen3NextConfig(**{**COMMON, "rope_parameters": rope}, attention_bias=True, attn_implementation="eager")
    theirs = Qwen3NextAttention(config, layer_idx=0).eval()
    randomise(theirs)
    at = Site(d_model=48, width=48, path="attention")
    said = {"gate": {"bias": True}, "bias": True, "qk_norm": {"norm": {**EPS, "offset": 1}}}
    said["position"] = {"type": "rope", "fraction": 0.5}
    ours = Attention.of({"type": "multi_head", "heads": 6, "kv_heads": 2, **said}).filled(at).build(at).eval()
    weights = {name.replace("_proj.", "."): value for name, value in theirs.state_dict().items()}
    for end in ("weight", "bias"):
        both = weights[f"q.{end}"].unflatten(0, (6, 2, 8))
        weights[f"q.{end}"], weights[f"gate.{end}"] = both[:, 0].flatten(0, 1), both[:, 1].flatten(0, 1)
    ours.load_state_dict(weights)
    x_BTD = torch.randn(2, LENGTH, 48, generator=torch.Generator().manual_seed(1))
    later = torch.full((LENGTH, LENGTH), torch.finfo(torch.float32).min).triu(1)
    angles = Qwen3NextRotaryEmbedding(config)(x_BTD, torch.arange(LENGTH)[None])
    with torch.no_grad():
        expected = theirs(x_BTD, position_embeddings=angles, attention_mask=later[None, None])[0]
        agree(ours(x_BTD, Flow.of(2, LENGTH))[0], expected)
