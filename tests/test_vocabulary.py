"""Everything a model section must be able to say: each item in words, how it is said, and that it is another model.

An item is laid over a small base as any file lies over the one it extends. What it computes is held against references
elsewhere (`tests/parity`, `tests/registry`); that it can be said at all, builds, trains and shows is held here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import blueprint as bp
from blueprint.formula import Formed
from blueprint.model.build import build_plan
from blueprint.model.trial import mean_square, trial_batch
from blueprint.registry import member
from tests.test_knobs import KNOBS, at, differing, keys, model_of, others, put
from tests.test_knobs import base as around

BASES = {
    "decoder": """{type: decoder, d_model: 32, layers: 4, max_length: 32, vocab_size: 61,
        block: {attention: {heads: 4}}}""",
    "encoder": """{type: encoder, d_model: 32, layers: 4, max_length: 32, vocab_size: 61, head: masked_language_model,
        block: {attention: {heads: 4}}}""",
    "images": """{type: encoder, d_model: 32, layers: 2, block: {attention: {heads: 4, position: none}},
        embedding: {type: patches, image_size: 12, patch_size: 4, channels: 2}, head: {type: classification, labels: 3}}
        """,
    "sides": """{type: encoder_decoder, d_model: 32, layers: 4, max_length: 32, vocab_size: 61,
        block: {attention: {heads: 4}}}""",
    "towers": """{type: dual_encoder, contrast: {width: 16},
        text: {d_model: 32, layers: 2, max_length: 32, vocab_size: 61, block: {attention: {heads: 4}}},
        image: {d_model: 24, layers: 2, embedding: {image_size: 12, patch_size: 4}, block: {attention: {heads: 4}}}}""",
}


@dataclass(frozen=True)
class Item:
    """One thing to say: `said` laid over `over`, and that over a base, is another model than without it."""

    words: str
    said: str
    over: str = "{}"
    base: str = "decoder"


def attention(said: str, over: str = "") -> tuple[str, str]:
    """Said of the attention, over what else is said of it."""
    return f"{{block: {{attention: {{{said}}}}}}}", f"{{block: {{attention: {{{over}}}}}}}"


def rope(said: str, over: str = "") -> tuple[str, str]:
    """Said of rotary positions in heads of 16 channels, over what else is said of them."""
    return attention(f"position: {{type: rope, {said}}}", f"head_dim: 16, position: {{type: rope, {over}}}")


def feed_forward(said: str, over: str = "") -> tuple[str, str]:
    """Said of the feed-forward, over what else is said of it."""
    return f"{{block: {{feed_forward: {{{said}}}}}}}", f"{{block: {{feed_forward: {{{over}}}}}}}"


def experts(said: str, over: str = "") -> tuple[str, str]:
    """Said of eight experts, over what else is said of them."""
    return feed_forward(said, f"type: experts, experts: 8, {over}")


def second(said: str, over: str = "{}") -> tuple[str, str]:
    """Said of the second layer alone."""
    return f"{{overrides: {{1: {said}}}}}", over


def balanced(said: str, router: str = "type: top_k") -> tuple[str, str]:
    """Said of what balances four experts behind a router, over what balances nothing."""
    around = f"type: experts, experts: 4, router: {{{router}}}"
    return feed_forward(f"balance: {said}", around)


PARALLEL = "{block: {type: parallel, attention: {heads: 4}}}"
ABSOLUTE = "{block: {attention: {position: none}}}"
NARROW = "{embedding: {width: 12, norm: layer, token_types: 2}}"
YARN = "scaling: {type: yarn, factor: 4, original_length: 64, beta_fast: 4"
LATENT = "{block: {attention: {type: latent, heads: 4, kv_rank: 12, nope_dim: 6, rope_dim: 4, value_dim: 10}}}"
DENSE = "blocks: {dense: {feed_forward: gated}}"
SPARSE = "{block: {feed_forward: {type: experts, experts: 4}}}"
STACKED = "{block: {attention: null, feed_forward: {type: experts, experts: 4, router: soft}}}"
SWITCH = """expert: {type: mlp, activation: relu}, router: {k: 1, jitter: 0.01}, balance: {type: expert, weight: 0.01},
    capacity: {factor: 1.25, over: batch}"""
GSHARD = """expert: {type: mlp, activation: relu}, router: {k: 2, renormalise: true, sure_from: 0.5},
    balance: {type: expert, choices: first},
    capacity: {factor: 1, keep: first_choices}"""
DEEPSEEK_V2 = """experts: 16, expert: {d_ff: 8}, shared: {type: gated, d_ff: 16}, balance: expert,
    router: {k: 3, groups: {count: 4, keep: 2}, scale: 16},
    capacity: {factor: 1, per: group, over: batch, keep: best, spared: 0.1}"""
GROUPED = "type: top_k, groups: {count: 2, keep: 1}"
CORRECTED = "type: top_k, score: sigmoid, renormalise: true, correction: score"
ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "silu", "sigmoid", "softplus", "identity")
SHORT, LONG = "[1, 1, 1, 1, 1, 1, 1, 1]", "[1, 1, 2, 2, 3, 3, 4, 4]"

VOCABULARY: dict[str, list[Item]] = {
    "embedding": [
        Item("a table narrower than the model, and a projection", "{embedding: {width: 12}}"),
        Item("a projection without bias", "{embedding: {projection_bias: false}}", "{embedding: {width: 12}}"),
        Item("the sum projected ahead of its norm", "{embedding: {project: sum}}", NARROW),
        Item("tokens projected alone", "{embedding: {project: tokens}}", NARROW),
        Item("scaled by the root of the width", "{embedding: {scale: sqrt(d_model)}}"),
        Item("scaled by a number", "{embedding: {scale: 12.5}}"),
        Item("learned positions", "{embedding: {positions: learned}}", ABSOLUTE),
        Item(
            "learned positions from row 2",
            "{embedding: {positions: {type: learned, offset: 2}}}",
            "{embedding: {positions: learned}, block: {attention: {position: none}}}",
        ),
        Item("sinusoids, interleaved", "{embedding: {positions: sinusoidal}}", ABSOLUTE),
        *(
            Item(
                f"sinusoids, {layout}",
                f"{{embedding: {{positions: {{type: sinusoidal, layout: {layout}}}}}}}",
                "{embedding: {positions: sinusoidal}, block: {attention: {position: none}}}",
            )
            for layout in ("halves", "tensor2tensor")
        ),
        Item("types of tokens", "{embedding: {token_types: 2}}"),
        Item("a norm on the sum", "{embedding: {norm: layer}}"),
        Item("patches without a prefix", "{embedding: {prefix: 0}}", base="images"),
        Item("patches after two tokens", "{embedding: {prefix: 2}}", base="images"),
        Item("oblong patches", "{embedding: {patch_size: [4, 6]}}", base="images"),
        Item("patches without bias", "{embedding: {bias: false}}", base="images"),
        Item("patches with positions", "{embedding: {positions: learned}}", base="images"),
        Item("patches with sinusoids", "{embedding: {positions: sinusoidal}}", base="images"),
        Item("a norm on patches", "{embedding: {norm: layer}}", base="images"),
        Item("a table for each side", "{embeddings: separate}", base="sides"),
        Item("one table for both sides and the head", "{head: {tie: true}}", base="sides"),
        Item(
            "a table for the encoder, one for decoder and head",
            "{head: {tie: true}}",
            "{embeddings: separate}",
            "sides",
        ),
        Item(
            "positions and norms of either side over one table",
            "{decoder: {embedding: {positions: {type: learned, offset: 2}, norm: layer}}}",
            "{embedding: {positions: learned}, block: {attention: {position: none}}}",
            "sides",
        ),
    ],
    "norm": [
        Item("layer", "{norm: layer}"),
        Item("rms", "{norm: rms}", "{norm: layer}"),
        *(
            Item(f"{name} {words}", f"{{norm: {{type: {name}, {said}}}}}", f"{{norm: {name}}}")
            for name in ("rms", "layer")
            for words, said in {
                "without weight": "affine: false",
                "with a weight around zero": "offset: 1",
                "with another eps": "eps: 0.5",
            }.items()
        ),
        Item("layer without bias", "{norm: {type: layer, bias: false}}", "{norm: layer}"),
        *(
            Item(f"another eps at the {site}", said, over, base)
            for site, said, over, base in [
                ("attention", "{block: {attention_norm: {eps: 0.5}}}", "{}", "decoder"),
                ("feed-forward", "{block: {feed_forward_norm: {eps: 0.5}}}", "{}", "decoder"),
                ("end", "{final_norm: {eps: 0.5}}", "{}", "decoder"),
                ("embedding", "{embedding: {norm: {type: rms, eps: 0.5}}}", "{embedding: {norm: rms}}", "decoder"),
                ("queries and keys", *attention("qk_norm: {norm: {eps: 0.5}}", "qk_norm: {}"), "decoder"),
                ("head", "{head: {norm: {eps: 0.5}}}", "{}", "encoder"),
                ("cross-attention", "{decoder: {block: {cross_attention_norm: {eps: 0.5}}}}", "{}", "sides"),
            ]
        ),
        *(
            Item(f"placed {where}", f"{{block: {{placement: {where}}}}}", base=base)
            for where in ("post", "output", "sandwich")
            for base in ("decoder", "sides")
        ),
        Item("placed before", "{block: {placement: pre}}", "{block: {placement: post}}"),
        Item("another placement on one side", "{decoder: {block: {placement: post}}}", base="sides"),
        Item("none at the end", "{final_norm: null}"),
        Item("none at the end of one side", "{encoder: {final_norm: null}}", base="sides"),
        Item("none at the first attention", "{overrides: {0: {attention_norm: null}}}"),
        Item("none at a feed-forward", "{block: {feed_forward_norm: null}}"),
        Item("none in a parallel block", "{block: {attention_norm: null}}", PARALLEL),
        Item("inside, before the output projection", *attention("inner_norm: rms")),
        Item("inside, before the down projection", *feed_forward("inner_norm: layer")),
        Item("inside an ungated one", *feed_forward("type: mlp, inner_norm: layer", "type: mlp")),
    ],
    "block": [
        Item("parallel under one norm", PARALLEL),
        Item("parallel under two", "{block: {feed_forward_norm: rms}}", PARALLEL),
        *(
            Item(
                f"{words}{' in a parallel block' * (kind == 'parallel')}",
                said,
                PARALLEL if kind == "parallel" else "{}",
            )
            for kind in ("sequential", "parallel")
            for words, said in {
                "a sublayer times a number": "{block: {residual: {type: scaled, by: 0.22}}}",
                "a sublayer less by depth": "{block: {residual: {type: scaled, by: 1 / sqrt(2 * n_layers)}}}",
                "the stream times a number": "{block: {residual: {type: scaled, stream: 1.7}}}",
                "a weight for each channel": "{block: {residual: layer_scale}}",
                "a tanh gate": "{block: {residual: gated}}",
            }.items()
        ),
        Item("joined to the normed value", "{block: {residual_from: normed}}"),
        Item(
            "α times the normed value",
            "{block: {residual: {type: scaled, stream: (2 * n_layers) ** 0.5}}}",
            "{block: {residual_from: normed}}",
        ),
        Item("attention alone", "{block: {feed_forward: null}}"),
        Item("feed-forward alone", "{overrides: {2: {attention: null}}}"),
        Item("weights shared by groups", "{share: [0, 0, 1, 1]}"),
        Item("weights shared by all", "{share: [0, 0, 0, 0]}"),
        Item("weights shared in one side", "{encoder: {share: [0, 0, 1, 1]}}", base="sides"),
    ],
    "layers that differ": [
        Item("in the window", *second("{attention: {mask: {type: sliding, window: 4}}}")),
        Item("in a window that grows", *attention("mask: {type: sliding, window: 2 ** (layer + 1)}")),
        Item("in the base of rope", *second("{attention: {position: {theta: 100}}}")),
        Item("in the scaling of rope", *second("{attention: {position: {scaling: {type: linear, factor: 4}}}}")),
        Item("in having no position", *second("{attention: {position: none}}")),
        Item("in heads", *second("{attention: {heads: 2}}")),
        Item("in the width of heads", *second("{attention: {head_dim: 6}}")),
        Item("in heads of keys", *second("{attention: {kv_heads: 1}}")),
        Item("in sinks", *second("{attention: {sinks: true}}")),
        Item("in the scale of scores", *second("{attention: {scale: 1}}")),
        Item("in the softcap", *second("{attention: {softcap: 5}}")),
        Item("in norms of queries and keys", *second("{attention: {qk_norm: {}}}")),
        Item("in the gate", *second("{attention: {gate: {}}}")),
        Item("in the kind of attention", *second(LATENT.removeprefix("{block: ")[:-1])),
        Item("in the width of the feed-forward", *second("{feed_forward: {d_ff: 24}}")),
        Item("in the kind of feed-forward", *second("{feed_forward: mlp}")),
        Item("in the activation", *second("{feed_forward: {activation: relu}}")),
        Item("in the norm", *second("{attention_norm: layer}")),
        Item("in the placement of norms", *second("{placement: post}")),
        Item("in the residual", *second("{residual: layer_scale}")),
        Item("in the kind of block", *second("{type: parallel, attention: {heads: 4}}")),
        Item("by a pattern of named blocks", "{blocks: {wide: {feed_forward: {d_ff: 24}}}, pattern: [block, wide]}"),
        Item("in reading no memory", "{decoder: {overrides: {1: {cross_attention: null}}}}", base="sides"),
        Item("in how memory is read", "{decoder: {overrides: {1: {cross_attention: {heads: 2}}}}}", base="sides"),
        Item("on one side", "{encoder: {overrides: {1: {attention: {heads: 2}}}}}", base="sides"),
        Item("in one tower", "{image: {overrides: {1: {attention: {heads: 2}}}}}", base="towers"),
    ],
    "attention": [
        Item("grouped queries", *attention("kv_heads: 2")),
        Item("one head of keys", *attention("kv_heads: 1")),
        Item("latent", LATENT),
        *(
            Item(f"latent, {words}", f"{{block: {{attention: {{{said}}}}}}}", LATENT)
            for words, said in {
                "queries of a latent vector": "q_rank: 14",
                "another eps": "latent_norm: {eps: 0.5}",
                "with bias": "bias: true",
                "another scale": "scale: 1",
                "of a wider latent": "kv_rank: 16",
                "with wider values": "value_dim: 12",
                "with wider plain parts": "nope_dim: 8",
                "with wider turned parts": "rope_dim: 6",
                "with a window": "mask: {type: sliding, window: 4}",
            }.items()
        ),
        Item(
            "latent, sharpened by yarn's second scale",
            "{block: {attention: {position: {type: rope, pairs: interleaved, " + YARN + ", mscale_all_dim: 1}}}}}",
            "{block: {attention: {type: latent, heads: 4, kv_rank: 12, nope_dim: 6, rope_dim: 4, value_dim: 10, "
            "position: {type: rope, pairs: interleaved, " + YARN + ", mscale: 1, mscale_all_dim: 0.5}}}}}",
        ),
        Item("a head of any width", *attention("head_dim: 6")),
        Item("a width for values alone", *attention("value_dim: 6")),
        Item("biases", *attention("bias: true")),
        *(Item(f"a bias on {name} alone", *attention(f"bias: [{name}]")) for name in "qkvo"),
        Item("no scale", *attention("scale: 1")),
        Item("any scale", *attention("scale: 0.07")),
        Item("a scale for each layer", *attention("scale: 1 / sqrt(head_dim) / (layer + 1)")),
        Item("causal", "{causal: true}", base="encoder"),
        Item("both ways", "{causal: false}"),
        Item("a window of the last W", *attention("mask: {type: sliding, window: 4}")),
        Item("a window to either side", *attention("mask: {type: sliding, window: 4}"), base="encoder"),
        Item("chunks", *attention("mask: {type: chunked, chunk: 8}")),
        Item("documents", *attention("mask: document")),
        Item("several masks at once", *attention("mask: [{type: sliding, window: 4}, {type: chunked, chunk: 8}]")),
        Item("queries and keys normed by head", *attention("qk_norm: {}")),
        Item("by head with weights of its own", *attention("qk_norm: {over: heads}", "qk_norm: {}")),
        Item("over the full width", *attention("qk_norm: {over: full}", "qk_norm: {}")),
        Item("after rope", *attention("qk_norm: {when: after}", "qk_norm: {}")),
        Item("by another norm", *attention("qk_norm: {norm: layer}", "qk_norm: {}")),
        Item("by a norm without weight", *attention("qk_norm: {norm: {affine: false}}", "qk_norm: {}")),
        Item("clipped", *attention("clip: 0.5")),
        Item("clipped after the norm of the full width", *attention("clip: 0.5", "qk_norm: {over: full}")),
        Item("a softcap on scores", *attention("softcap: 5")),
        Item("sinks", *attention("sinks: true")),
        Item("a temperature by position", *attention("temperature: {scale: 0.5, floor: 4}")),
        Item(
            "from another position",
            *attention("temperature: {offset: 3}", "temperature: {scale: 0.5, floor: 4}"),
        ),
        Item("a sigmoid gate for each element", *attention("gate: {}")),
        Item("a softplus gate for each head", *attention("gate: {per: head, activation: softplus}")),
        Item("values scaled", *attention("value_scale: 0.5")),
        Item(
            "cross-attention in listed layers",
            "{decoder: {block: {cross_attention: null}, overrides: {1: {cross_attention: {heads: 4}}}}}",
            base="sides",
        ),
        Item(
            "another cross-attention than attention",
            "{decoder: {block: {cross_attention: {bias: true}}}}",
            base="sides",
        ),
    ],
    "position": [
        Item("none", *attention("position: none")),
        Item("alibi", *attention("position: alibi")),
        Item("alibi over six heads", *attention("position: alibi", "heads: 6, head_dim: 8")),
        Item("alibi over one", *attention("position: alibi", "heads: 1")),
        Item("a table of buckets for the stack", *attention("position: t5_bias")),
        Item("a table for each layer", *attention("position: {scope: layer}", "position: t5_bias")),
        Item("other buckets", *attention("position: {buckets: 8}", "position: t5_bias")),
        Item(
            "another farthest distance",
            *attention("position: {max_distance: 20}", "position: {type: t5_bias, buckets: 8}"),
        ),
        Item("a table of buckets both ways", *attention("position: t5_bias"), base="encoder"),
        Item("disentangled", *attention("position: disentangled"), base="encoder"),
        *(
            Item(
                f"disentangled, {term} alone",
                *attention(f"position: {{terms: [{term}]}}", "position: disentangled"),
                base="encoder",
            )
            for term in ("c2p", "p2c")
        ),
        Item("vectors of clipped distances", *attention("position: shaw")),
        Item("sinusoids of distances", *attention("position: transformer_xl")),
        Item("positions of one side", "{encoder: {block: {attention: {position: t5_bias}}}}", base="sides"),
    ],
    "rope": [
        Item("interleaved pairs", *rope("pairs: interleaved")),
        Item("a fraction of the head", *rope("fraction: 0.5")),
        Item("a width of the head", *rope("width: 6")),
        Item("another base", *rope("theta: 100")),
        Item("a base for each layer", *rope("theta: 10 ** (layer + 1)")),
        Item("linear", *rope("scaling: {type: linear, factor: 4}")),
        Item("dynamic", *rope("scaling: {type: dynamic, factor: 2, original_length: 8}")),
        Item("llama3", *rope("scaling: {type: llama3, original_length: 8}")),
        Item("yarn", *rope(YARN + "}")),
        Item("yarn, not truncated", *rope(YARN + ", truncate: false}", YARN + "}")),
        Item("yarn with its factor said", *rope(YARN + ", attention_factor: 2}", YARN + "}")),
        Item("yarn with two scales", *rope(YARN + ", mscale: 1, mscale_all_dim: 0.5}", YARN + "}")),
        Item(
            "longrope",
            *rope(f"scaling: {{type: longrope, short_factor: {SHORT}, long_factor: {LONG}, original_length: 8}}"),
        ),
    ],
    "feed-forward": [
        *(
            Item(f"{kind} {name}", *feed_forward(f"activation: {name}", f"type: {kind}, activation: tanh"))
            for kind in ("mlp", "gated")
            for name in ACTIVATIONS
        ),
        Item("gated", *feed_forward("type: gated, activation: gelu, d_ff: 48", "type: mlp, d_ff: 48")),
        Item("ungated", *feed_forward("type: mlp, activation: silu")),
        Item("bias", *feed_forward("bias: true")),
        Item("bias of an ungated one", *feed_forward("bias: true", "type: mlp")),
        Item("clamp", *feed_forward("clamp: 0.5")),
        Item("up + 1", *feed_forward("up_offset: 1")),
        Item("x·σ(αx)", *feed_forward("activation: {type: swish, alpha: 1.702}")),
    ],
    "experts": [
        Item("in all layers", *feed_forward("type: experts, experts: 4")),
        Item("after the first k", f"{{{DENSE}, pattern: [dense, dense, block, block]}}", SPARSE),
        Item("in every second layer", f"{{{DENSE}, pattern: [dense, block]}}", SPARSE),
        Item("in listed layers", "{overrides: {1: {feed_forward: {type: experts, experts: 4}}}}"),
        Item("of any kind", *experts("expert: {type: mlp, activation: relu}")),
        Item("with biases of their own", *experts("expert: {bias: true}")),
        Item("many and small", *experts("experts: 16, expert: {d_ff: 4}")),
        Item("one for each token", *experts("router: {k: 1}")),
        Item("scored by themselves", *experts("router: {score: sigmoid}")),
        Item("weighted among the chosen", *experts("router: {over: chosen}")),
        Item("chosen with a bias", *experts("router: {bias: true}")),
        Item("chosen by corrected scores", *experts("router: {correction: score}")),
        Item("chosen by corrected logits", *experts("router: {correction: logit}")),
        Item("with weights that sum to one", *experts("router: {renormalise: true}")),
        Item("with weights times a number", *experts("router: {scale: 2.5}")),
        Item("in groups judged by their best", *experts("router: {groups: {count: 4, keep: 1}}")),
        Item(
            "in groups judged by their best two",
            *experts("router: {groups: {by: top2_sum}}", "router: {k: 3, groups: {count: 4, keep: 2}}"),
        ),
        Item("under a softcap", *experts("router: {softcap: 3}")),
        Item("shaken", *experts("router: {jitter: 0.2}")),
        Item("weighted on their input", *experts("weigh: input")),
        Item("beside a shared one", *experts("shared: {type: gated, d_ff: 16}")),
        Item("beside a gated one", *experts("shared_gate: true", "shared: {type: gated, d_ff: 16}")),
        Item("kept even", *experts("balance: expert")),
        Item("all of them, softly", *experts("router: soft")),
        Item("all of them, softly, with a bias", *experts("router: {bias: true}", "router: soft")),
        Item("passing on what they make", "{block: {residual: {type: scaled, stream: 0}}}", STACKED),
        Item("under learned noise", *experts("router: noisy_top_k")),
        Item("under learned noise, begun as others", *experts("router: {initial: init}", "router: noisy_top_k")),
        Item("of like importance", *experts("balance: importance", "router: noisy_top_k")),
        Item("of like smooth load", *experts("balance: load", "router: noisy_top_k")),
        Item("of both", *experts("balance: [importance, load]", "router: noisy_top_k")),
        Item("that choose their tokens", *experts("router: expert_choice"), base="encoder"),
        Item(
            "that choose fewer",
            *experts("router: {factor: 0.5}", "router: expert_choice"),
            base="encoder",
        ),
        Item("that choose of a batch", *experts("router: {over: batch}", "router: expert_choice"), base="encoder"),
        Item("by the id of a token", *experts("router: hash")),
        Item("by other lots", *experts("router: {seed: 1}", "router: hash")),
        Item("with a second choice by chance", *experts("router: {sure_from: 0.5}", "router: {renormalise: true}")),
        Item("as in Switch", *experts(SWITCH)),
        Item("as in GShard", *experts(GSHARD)),
        Item("as in DeepSeek-V2, dropping", *experts(DEEPSEEK_V2)),
    ],
    "room at experts": [
        Item("by a factor", *experts("capacity: {factor: 0.5}")),
        Item("by a number of tokens", *experts("capacity: {tokens: 2}")),
        Item("in the whole batch", *experts("capacity: {over: batch}", "capacity: {factor: 0.5}")),
        Item(
            "by groups",
            *experts("capacity: {per: group}", "router: {k: 3, groups: {count: 4, keep: 2}}, capacity: {factor: 0.5}"),
        ),
        *(
            Item(f"for {words}", *experts(f"capacity: {{keep: {keep}}}", "capacity: {factor: 0.5}"))
            for words, keep in {
                "first choices ahead of second": "first_choices",
                "the best choices": "best",
                "the best tokens": "best_tokens",
            }.items()
        ),
        Item("or where there is room", *experts("capacity: {overflow: reroute}", "capacity: {factor: 1}")),
        Item(
            "or where there is room, at inference too",
            *experts("capacity: {at_inference: true}", "capacity: {factor: 1, overflow: reroute}"),
        ),
        Item("that spares sequences", *experts("capacity: {spared: 0.9}", "capacity: {factor: 0.5}")),
        Item("for each layer its own", *experts("capacity: {factor: 1 / (layer + 1)}")),
    ],
    "balances of experts": [
        Item("DeepSeek-V2's loss per expert", *balanced("{type: expert, weight: 0.003, over: sequence}")),
        Item("DeepSeek-V2's loss per device", *balanced("{type: device, weight: 0.05}", GROUPED)),
        Item("DeepSeek-V2's loss of communication", *balanced("{type: communication, weight: 0.02}", GROUPED)),
        Item("all three", *balanced("[{type: expert, weight: 0.003}, device, communication]", GROUPED)),
        Item("DeepSeek-V3's, without a loss", *balanced("{type: bias, rate: 0.001}", CORRECTED)),
        Item(
            "and a small loss per sequence",
            *balanced("[bias, {type: expert, weight: 1e-4, over: sequence}]", CORRECTED),
        ),
        Item("the router's z-loss", *balanced("{type: z, weight: 0.001}")),
        Item("over all layers at once", *balanced("{type: expert, over: layers}")),
    ],
    "head": [
        Item("tied", "{head: {tie: true}}"),
        Item("bias", "{head: {bias: true}}"),
        Item("a bias that is not trained", "{head: {bias: fixed}}", "{head: {bias: true}}"),
        Item("logits times a number", "{head: {scale: 0.5}}"),
        Item("logits divided by a number", "{head: {scale: 1 / 16}}"),
        Item("logits divided by the root of the width", "{head: {scale: 1 / sqrt(d_model)}}"),
        Item("softcap", "{head: {softcap: 3}}"),
        Item("masked tokens", "{head: masked_language_model}", "{head: language_model}", "encoder"),
        Item("masked tokens, tied", "{head: {tie: true}}", base="encoder"),
        Item("masked tokens from another width", "{head: {width: 24}}", base="encoder"),
        Item("masked tokens, tied to a narrow table", "{head: {tie: true}}", "{embedding: {width: 24}}", "encoder"),
        Item("another activation", "{head: {activation: relu}}", base="encoder"),
        Item("no norm", "{head: {norm: null}}", base="encoder"),
        Item("no bias", "{head: {bias: false, dense_bias: false}}", base="encoder"),
        *(
            Item(
                f"classes over {words}",
                f"{{head: {{over: {over}}}}}",
                f"{{head: {{type: classification, labels: 3, over: {other}}}}}",
                base,
            )
            for words, over, other, base in [
                ("the first token", "first", "mean", "encoder"),
                ("the mean", "mean", "first", "encoder"),
                ("first token and mean", "first_and_mean", "first", "encoder"),
                ("the last token", "last", "first", "encoder"),
                ("the last token of a decoder", "last", "mean", "decoder"),
            ]
        ),
        Item(
            "classes over a pooler",
            "{head: {activation: tanh}}",
            "{head: {type: classification, labels: 3}}",
            "encoder",
        ),
        Item("a pooler", "{head: pooler}", base="encoder"),
    ],
    "dual encoder": [
        *(
            Item(
                f"{side} pooled by {words}", f"{{{side}: {{pool: {pool}}}}}", f"{{{side}: {{pool: {other}}}}}", "towers"
            )
            for side, words, pool, other in [
                ("text", "first", "first", "last"),
                ("text", "last", "last", "first"),
                ("text", "the token that ends it", "{type: eos, id: 7}", "first"),
                ("text", "the largest id", "largest", "first"),
                ("text", "attention", "{type: attention, heads: 4}", "first"),
                ("image", "attention", "{type: attention, heads: 4}", "first"),
                ("image", "mean", "mean", "first"),
            ]
        ),
        Item("a norm on the vector", "{image: {pool_norm: layer}}", base="towers"),
        Item("causal text", "{text: {causal: true}}", base="towers"),
        Item("projections to another width", "{contrast: {width: 12}}", base="towers"),
        Item("no projections", "{contrast: {width: null}}", "{image: {d_model: 32}}", "towers"),
        Item("projections with bias", "{contrast: {projection_bias: true}}", base="towers"),
        Item("another scale of logits", "{contrast: {scale: 1}}", base="towers"),
        Item("a bias of logits", "{contrast: {bias: -10}}", base="towers"),
    ],
}
ITEMS = [pytest.param(item, id=f"{axis}: {item.words}") for axis, items in VOCABULARY.items() for item in items]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bases stand as files."""
    made = tmp_path_factory.mktemp("vocabulary")
    for name, model in BASES.items():
        (made / f"{name}.yaml").write_text(f"model: {model}\nsample: null\n")
    return made


#: What is seen of models that several items are compared with.
SEEN: dict[tuple[str, str], Any] = {}


def said(folder: Path, item: Item) -> dict[str, Any]:
    """The item as a spec that extends one that extends a base."""
    over = folder / "over.yaml"
    over.write_text(f"extends: {item.base}.yaml\nmodel: {item.over}\n")
    (folder / "item.yaml").write_text(f"extends: over.yaml\nmodel: {item.said}\n")
    spec = bp.load(folder / "item.yaml")
    plain: dict[str, Any] = spec.to_plain(defaults=False)
    if (item.base, item.over) not in SEEN:
        SEEN[item.base, item.over] = model_of(bp.load(over).to_plain(defaults=False))
    return plain


@pytest.mark.parametrize("item", ITEMS)
def test_it_can_be_said_and_is_another_model(folder: Path, item: Item) -> None:
    spec = said(folder, item)
    base, without = SEEN[item.base, item.over]
    plan, found = model_of(spec)
    assert plan.hash != base.hash
    assert differing(without, found)


@pytest.mark.parametrize("item", ITEMS)
def test_it_learns_in_miniature(folder: Path, item: Item) -> None:
    plan = bp.plan(bp.load(said(folder, item))).miniature()
    model = build_plan(plan, seed=0).train()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    loss, _ = mean_square(model, trial_batch(plan, 2, 12, generator=noise))
    loss.backward()
    assert torch.isfinite(loss)
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(grad is None or grad.isfinite().all() for grad in grads.values())
    assert any(grad is not None and grad.any() for grad in grads.values())


def _formed(annotation: Any) -> bool:
    """Whether a field's number may be said as arithmetic."""
    return any(isinstance(mark, Formed) for mark in get_args(annotation))


NUMBERS = [
    pytest.param(kind, name, key, id=f"{name}.{key}")
    for kind, name, key in KNOBS
    if kind != "model" and _formed(dict(keys(member(kind, name)))[key].annotation)
]


@pytest.mark.parametrize(("kind", "name", "key"), NUMBERS)
def test_any_number_may_be_arithmetic(kind: str, name: str, key: str) -> None:
    knob = f"{name}.{key}"
    spec, path = around(kind, name, knob)
    now = at(bp.load(spec).to_plain(), f"{path}.{key}")
    number = others(knob, dict(keys(member(kind, name)))[key], now)[0] if now is None else now
    said = bp.load(spec).to_plain(defaults=False)
    put(said, f"{path}.{key}", number)
    plan = bp.plan(bp.load(said))
    put(said, f"{path}.{key}", f"{number} * d_model / d_model + 0 * layer")
    reckoned = bp.load(said)
    assert bp.plan(reckoned).hash == plan.hash
    assert bp.load(reckoned.to_plain()).to_plain() == reckoned.to_plain()
    bp.build(reckoned, device="meta")
    put(said, f"{path}.{key}", "1 / (layer - layer)")
    with pytest.raises(bp.SpecError, match="division by zero"):
        bp.load(said)
