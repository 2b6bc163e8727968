"""The Transformer of 2017: computed by torch's own layers after the paper's embeddings, counted from its formulas."""

# B batch, T tokens, D model width

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blueprint as bp
from tests.conftest import ROOT
from tests.parity.test_encoders import randomised

PAPERS = ROOT / "specs" / "papers"
NAMES = ("transformer_base", "transformer_big")
D, HEADS, D_FF, LAYERS, VOCABULARY = 32, 4, 48, 3, 101
SMALL = [
    f"model.{key}={value}"
    for key, value in {
        "vocab_size": VOCABULARY,
        "d_model": D,
        "layers": LAYERS,
        "block.attention.heads": HEADS,
        "block.feed_forward.d_ff": D_FF,
    }.items()
]


@pytest.mark.parametrize(("name", "d", "d_ff"), [("transformer_base", 512, 2048), ("transformer_big", 1024, 4096)])
def test_its_parameters_are_those_of_the_papers_formulas(name: str, d: int, d_ff: int) -> None:
    attention, norm, feed_forward = 4 * d * d, 2 * d, 2 * d * d_ff + d_ff + d
    encoder = attention + feed_forward + 2 * norm
    decoder = 2 * attention + feed_forward + 3 * norm
    found = sum(p.numel() for p in bp.build(bp.load(PAPERS / f"{name}.yaml"), device="meta").parameters())
    assert found == 37_000 * d + 6 * (encoder + decoder)


def sinusoids(length: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos of the same (section 3.5)."""
    table_TD = torch.empty(length, D)
    for at in range(length):
        for i in range(D // 2):
            angle = at / 10000 ** (2 * i / D)
            table_TD[at, 2 * i], table_TD[at, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table_TD


def attend(theirs: nn.MultiheadAttention, ours: Any) -> None:
    """Give torch's attention our maps; its biases are nought."""
    theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
    theirs.out_proj.weight.copy_(ours.o.weight)
    theirs.in_proj_bias.zero_()
    theirs.out_proj.bias.zero_()


def layer(kind: type[Any], ours: Any) -> Any:
    """One of torch's layers with the weights of ours."""
    theirs = kind(D, HEADS, D_FF, dropout=0.0, activation="relu", batch_first=True).eval()
    attend(theirs.self_attn, ours.attention)
    norms = [ours.attention_norm, ours.feed_forward_norm]
    if kind is nn.TransformerDecoderLayer:
        attend(theirs.multihead_attn, ours.cross_attention)
        norms.insert(1, ours.cross_attention_norm)
    for to, of in zip((theirs.norm1, theirs.norm2, getattr(theirs, "norm3", None)), norms, strict=False):
        to.load_state_dict(of.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())
    return theirs


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_small_one_computes_the_papers_logits(name: str) -> None:
    ours: Any = randomised(bp.build(bp.load(PAPERS / f"{name}.yaml", overrides=SMALL)))
    table = ours.encoder.embedding.tokens.weight
    assert ours.decoder.embedding.tokens.weight is table

    def embed(ids_BT: Tensor) -> Tensor:
        return F.embedding(ids_BT, table) * math.sqrt(D) + sinusoids(ids_BT.shape[1])

    source, target = (
        torch.randint(VOCABULARY, (3, length), generator=torch.Generator().manual_seed(length)) for length in (20, 12)
    )
    memory = embed(source)
    for each in ours.encoder.layers:
        memory = layer(nn.TransformerEncoderLayer, each)(memory)
    x_BTD = embed(target)
    causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
    for each in ours.decoder.layers:
        x_BTD = layer(nn.TransformerDecoderLayer, each)(x_BTD, memory, tgt_mask=causal)
    expected = F.linear(x_BTD, table)
    found = ours(input_ids=source, decoder_input_ids=target).logits
    assert (found - expected).abs().max() <= 2e-5 * expected.std()
