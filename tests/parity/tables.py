"""Tables of names: which tensor of the transformers library is which of ours, and settings that families share."""

from __future__ import annotations

from torch import Tensor

from tests.parity.reference import Take, Weights


def names(stack: str, layer: dict[str, str], **outside: str) -> dict[str, str]:
    """Our names to theirs: `layer` within the layers of `stack`, `outside` elsewhere; with biases where those have."""
    table = {f"layers.{{i}}.{ours}": f"{stack}.{{i}}.{theirs}" for ours, theirs in layer.items()}
    table |= {ours.replace("__", "."): theirs for ours, theirs in outside.items()}
    return {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in table.items() for end in ("weight", "bias")}


def fused(weights: Weights, parts: dict[str, Take], source: str) -> Weights:
    """The same table, where several of our maps are parts of one of theirs, weight and bias alike."""
    split = {
        f"layers.{{i}}.{ours}.{end}": (f"{source}.{end}", take)
        for ours, take in parts.items()
        for end in ("weight", "bias")
    }
    return {**weights, **split}


def third(n: int, *, by_head: int = 0, turned: bool = False) -> Take:
    """The n-th third of a fused map of queries, keys and values, `by_head` where each head has its three together.

    `turned`: the matrix is stored (in, out).
    """

    def take(x: Tensor) -> Tensor:
        x = x.t() if turned and x.ndim == 2 else x
        return x.unflatten(0, (by_head, 3, -1))[:, n].flatten(0, 1) if by_head else x.chunk(3)[n]

    return take


def rows(start: int, stop: int) -> Take:
    """Rows of a fused map."""
    return lambda x: x[start:stop]


def thirds(*, by_head: int = 0, turned: bool = False) -> dict[str, Take]:
    """Queries, keys and values in one map."""
    return {f"attention.{name}": third(n, by_head=by_head, turned=turned) for n, name in enumerate("qkv")}


SIZE = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2}
GROUPED = {
    **SIZE,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-3,
    "tie_word_embeddings": False,
}
ATTENTION = {f"attention.{name}": f"self_attn.{name}_proj" for name in "qkvo"}
QK_NORM = {f"attention.{name}_norm": f"self_attn.{name}_norm" for name in "qk"}
GATED = {f"feed_forward.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")}
PRE = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
AROUND = {"embedding__tokens": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
LLAMA = names("model.layers", {**ATTENTION, **QK_NORM, **GATED, **PRE}, **AROUND)
SWIGLU = "{type: gated, d_ff: 80}"
TWO = "{d_model: 48, layers: 2, norm: {type: rms, eps: 1.0e-3}, "
