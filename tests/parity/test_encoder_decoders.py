"""Encoder-decoders as the transformers library computes them, on the same weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
import yaml
from torch import Tensor, nn

import blueprint as bp
from tests.parity.reference import randomise

BAR = 2e-5
VOCABULARY, SOURCE, TARGET = 101, 20, 12

POST = {
    f"attention.{ours}": f"self_attn.{theirs}"
    for ours, theirs in zip("qkvo", ("q_proj", "k_proj", "v_proj", "out_proj"), strict=True)
}
POST |= {
    "attention_norm": "self_attn_layer_norm",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
CROSS = {
    ours.replace("attention", "cross_attention"): theirs for ours, theirs in POST.items() if ours.startswith("att")
}
CROSS = {ours: theirs.replace("self_attn", "encoder_attn") for ours, theirs in CROSS.items()}
BART_NAMES = {
    f"{side}.{ours}": f"model.{side}.{theirs}"
    for side in ("encoder", "decoder")
    for ours, theirs in {
        "embedding.tokens": "embed_tokens",
        "embedding.positions": "embed_positions",
        "embedding.norm": "layernorm_embedding",
        **{f"layers.{{i}}.{o}": f"layers.{{i}}.{t}" for o, t in (POST | (CROSS if side == "decoder" else {})).items()},
    }.items()
}


def t5_names(gated: bool) -> dict[str, str]:
    """Our names to theirs."""
    table: dict[str, str] = {}
    for side, last in (("encoder", 1), ("decoder", 2)):
        table[f"{side}.embedding.tokens"] = "shared"
        table[f"{side}.norm"] = f"{side}.final_layer_norm"
        for index, (ours, theirs) in enumerate(
            {"attention": "SelfAttention", "cross_attention": "EncDecAttention"}.items()
        ):
            if index < last:
                source = f"{side}.block.{{i}}.layer.{index}"
                table |= {f"{side}.layers.{{i}}.{ours}.{n}": f"{source}.{theirs}.{n}" for n in "qkvo"}
                table[f"{side}.layers.{{i}}.{ours}_norm"] = f"{source}.layer_norm"
        # One table for all layers: theirs stands in the first.
        table[f"{side}.layers.{{i}}.attention.position.table"] = (
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
        )
        source = f"{side}.block.{{i}}.layer.{last}"
        maps = {"gate": "wi_0", "up": "wi_1", "down": "wo"} if gated else {"up": "wi", "down": "wo"}
        table |= {f"{side}.layers.{{i}}.feed_forward.{o}": f"{source}.DenseReluDense.{t}" for o, t in maps.items()}
        table[f"{side}.layers.{{i}}.feed_forward_norm"] = f"{source}.layer_norm"
    return table


@dataclass(frozen=True)
class Family:
    """One architecture: the library's class and settings, our `model` section, and which tensor is which."""

    cls: str
    config: Mapping[str, Any]
    model: str
    names: Mapping[str, str]

    def reference(self) -> Any:
        """The library's model with eager attention, its values drawn anew."""
        cls = getattr(transformers, self.cls)
        config = cls.config_class(vocab_size=VOCABULARY, **self.config)
        config._attn_implementation = "eager"
        model = cls(config).float().eval()
        sinusoids = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
        randomise(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in sinusoids:
                    parameter.copy_(sinusoids[name])
        return model

    def source(self, name: str) -> str:
        """Their tensor that our parameter or buffer is."""
        if name == "head.bias":
            return "final_logits_bias"
        path, _, own = name.rpartition(".")
        steps = path.split(".")
        layer = next((step for step in steps if step.isdigit()), "")
        found = self.names[".".join("{i}" if step == layer else step for step in steps)]
        return f"{found.replace('{i}', layer)}.{own}"

    def pair(self) -> tuple[Any, Any]:
        """Theirs and ours, computing with equal weights."""
        theirs = self.reference()
        ours: Any = bp.build(
            bp.load({"model": {"type": "encoder_decoder", "vocab_size": VOCABULARY, **yaml.safe_load(self.model)}})
        ).eval()
        tensors = theirs.state_dict()
        with torch.no_grad():
            for name, tensor in ours.state_dict(keep_vars=True).items():
                tensor.copy_(tensors[self.source(name)].view_as(tensor))
        return theirs, ours


BART_SIZES = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
BART = """
d_model: 32
max_length: 40
norm: layer
embedding: {positions: {type: learned, offset: 2}, norm: layer, scale: sqrt(d_model)}
block:
  placement: post
  attention: {bias: true, position: none}
  feed_forward: {type: mlp, bias: true}
final_norm: null
encoder: {layers: 3, block: {attention: {heads: 4}, feed_forward: {d_ff: 48}}}
decoder: {layers: 2, block: {attention: {heads: 2}, feed_forward: {d_ff: 40}}}
head: {tie: true, bias: fixed}
"""
MARIAN = BART.replace(
    "{positions: {type: learned, offset: 2}, norm: layer, ", "{positions: {type: sinusoidal, layout: halves}, "
).replace("{type: mlp, bias", "{type: mlp, activation: silu, bias")
T5_SIZES = {
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 48,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "layer_norm_epsilon": 0.001,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
T5 = """
d_model: 32
norm: {type: rms, eps: 0.001}
block:
  attention: {heads: 4, head_dim: 12, scale: 1, position: {type: t5_bias, buckets: 8, max_distance: 16}}
  feed_forward: {type: mlp, d_ff: 48, activation: relu}
encoder: {layers: 3}
decoder: {layers: 2}
head: {tie: true, scale: 1 / sqrt(d_model)}
"""
T5_V11 = T5.replace("type: mlp, d_ff: 48, activation: relu", "type: gated, d_ff: 48, activation: gelu_tanh").replace(
    ", scale: 1 / sqrt(d_model)", ""
)
# The library ties the head whatever is said, and takes this as word that logits are not scaled.
V11 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
FAMILIES = {
    "bart": Family("BartForConditionalGeneration", {**BART_SIZES, "scale_embedding": True}, BART, BART_NAMES),
    "marian": Family(
        "MarianMTModel", {**BART_SIZES, "scale_embedding": True, "activation_function": "swish"}, MARIAN, BART_NAMES
    ),
    "t5": Family("T5ForConditionalGeneration", T5_SIZES, T5, t5_names(False)),
    "t5_v1.1": Family("T5ForConditionalGeneration", {**T5_SIZES, **V11}, T5_V11, t5_names(True)),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def pair(family: Family) -> tuple[Any, Any]:
    return family.pair()


def ids(seed: int, length: int, batch: int = 3) -> Tensor:
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def keep(length: int) -> Tensor:
    """Rows of which all, two thirds and a quarter are real, padded on the right."""
    return (torch.arange(length) < torch.tensor([[length], [length * 2 // 3], [length // 4]])).long()


def agree(found: Tensor, expected: Tensor) -> None:
    far, spread = (found - expected).abs().max(), expected.std()
    assert far <= BAR * spread, f"max |Δlogit| is {far / spread:.1e} of their standard deviation"


def test_what_is_one_tensor_there_is_one_here(family: Family, pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    # Sinusoids are computed here; a table that all layers of theirs share stands in each of ours.
    trained = {name: p.numel() for name, p in theirs.named_parameters() if p.requires_grad}
    own = {family.source(name): parameter.numel() for name, parameter in ours.named_parameters()}
    assert sum(own.values()) == sum(trained.values())
    tied = {name for name, p in ours.state_dict(keep_vars=True).items() if p is ours.encoder.embedding.tokens.weight}
    assert tied == {"encoder.embedding.tokens.weight", "decoder.embedding.tokens.weight"}
    assert theirs.lm_head.weight is theirs.get_encoder().embed_tokens.weight
    assert "head.weight" not in ours.state_dict()
    assert not isinstance(ours.head.bias, nn.Parameter)


@torch.no_grad()
def test_logits_agree(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    for batch, source, target in ((3, SOURCE, TARGET), (1, 1, 1), (2, 5, 30)):
        given = {"input_ids": ids(0, source, batch), "decoder_input_ids": ids(1, target, batch)}
        agree(ours(**given).logits, theirs(**given).logits)


@torch.no_grad()
def test_padded_logits_agree(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    given = {
        "input_ids": ids(0, SOURCE),
        "attention_mask": keep(SOURCE),
        "decoder_input_ids": ids(1, TARGET),
        "decoder_attention_mask": keep(TARGET),
    }
    real = keep(TARGET).bool()
    agree(ours(**given).logits[real], theirs(**given).logits[real])


@torch.no_grad()
def test_greedy_decoding_gives_the_same_tokens(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    source, mask, steps = ids(2, SOURCE), keep(SOURCE), 24
    asked = {"max_new_tokens": steps, "do_sample": False, "num_beams": 1, "eos_token_id": None}
    expected = theirs.generate(input_ids=source, attention_mask=mask, **asked)
    state = ours.new_state(len(source), steps)
    found = torch.full((len(source), 1), theirs.config.decoder_start_token_id)
    memory, _ = ours.encode(source, mask)
    for _ in range(steps):
        logits = ours(decoder_input_ids=found[:, -1:], memory=memory, state=state).logits
        found = torch.cat((found, logits[:, -1:].argmax(-1)), 1)
    assert found.tolist() == expected.tolist()


def test_loss_and_gradients_agree(family: Family, pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    given = {"input_ids": ids(0, SOURCE), "decoder_input_ids": ids(1, TARGET)}
    targets = ids(3, TARGET)
    for model in pair:
        model.zero_grad()
    expected = F.cross_entropy(theirs(**given).logits.flatten(0, 1), targets.flatten())
    found = ours.cross_entropy(ours(**given, logits=False).hidden, targets)
    expected.backward()
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    wanted = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    norm = math.sqrt(sum(float(each.square().sum()) for each in wanted.values()))
    summed: dict[str, Tensor] = {}
    named = {id(p): name for name, p in reversed(list(theirs.named_parameters(remove_duplicate=False)))}
    aliases = {name: named[id(p)] for name, p in theirs.named_parameters(remove_duplicate=False)}
    for name, parameter in ours.named_parameters():
        theirs_name = aliases[family.source(name)]
        summed[theirs_name] = summed.get(theirs_name, 0) + parameter.grad
    assert summed.keys() == wanted.keys()
    for name, gradient in summed.items():
        far = float((gradient - wanted[name]).norm()) / norm
        assert far <= 1e-5, f"the gradient of {name} is {far:.1e} of the whole gradient off"
