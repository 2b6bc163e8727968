"""Shaw's and Transformer-XL's relative positions, held against their papers' equations written out pair by pair, and
against the library's attentions that have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Fault, Site, as_faults
from blueprint.kinds import Attention, Position
from blueprint.ops import Flow

D, HEADS, LENGTH, PADS = 24, 4, 13, 4
E = D // HEADS
SITE = Site(d_model=D, width=D, path="attention")


def built(position: dict[str, Any], causal: bool, **said: Any) -> Any:
    at = replace(SITE, causal=causal)
    made = Attention.of({"type": "multi_head", "heads": HEADS, "position": position, **said}).filled(at).build(at)
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    return made.eval().double()


def tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, LENGTH, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_pairs(module: Any, x_TD: Tensor, causal: bool, score: Any, value: Any = None) -> Tensor:
    """Attention of one sequence, one query, key and head at a time: `score(head, q, k, distance)` before the scale, and
    what is gathered of each key, `value(head, v, distance)`."""
    value = value or (lambda head, v, distance: v)
    q, k, v = (p(x_TD).unflatten(-1, (-1, E)) for p in (module.q, module.k, module.v))
    out = torch.zeros(LENGTH, HEADS, E, dtype=x_TD.dtype)
    for head in range(HEADS):
        group = head * k.shape[1] // HEADS
        for i in range(LENGTH):
            seen = range(i + 1) if causal else range(LENGTH)
            scores = torch.stack([score(head, q[i, head], k[j, group], i - j) / E**0.5 for j in seen])
            gathered = torch.stack([value(head, v[j, group], i - j) for j in seen])
            out[i, head] = scores.softmax(0) @ gathered
    found: Tensor = module.o(out.flatten(1))
    return found


def agree(module: Any, causal: bool, expected: list[Tensor], x_BTD: Tensor) -> None:
    """At once, with padding on either side, step by step, and by every backend that can."""
    with torch.no_grad():
        whole, _ = module(x_BTD, Flow.of(2, LENGTH))
        torch.testing.assert_close(whole, torch.stack(expected), rtol=0, atol=1e-10)
        filler = torch.ones(2, PADS, D, dtype=x_BTD.dtype)
        for parts, cut in (((filler, x_BTD), slice(PADS, None)), ((x_BTD, filler), slice(0, LENGTH))):
            keep = torch.zeros(2, LENGTH + PADS, dtype=torch.bool)
            keep[:, cut] = True
            padded, _ = module(torch.cat(parts, 1), Flow.of(2, LENGTH + PADS, attention_mask=keep))
            torch.testing.assert_close(padded[:, cut], whole, rtol=0, atol=1e-10)
        if not causal:
            assert not module.incremental
            return
        state, seen, steps = module.new_state(2, LENGTH, torch.float64), None, []
        for t in range(LENGTH):
            flow = Flow.of(2, 1, seen=seen)
            steps.append(module(x_BTD[:, t : t + 1], flow, state)[0])
            seen = flow.seen
        torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("values", [True, False])
def test_shaw_is_the_papers_equations(causal: bool, kv_heads: int, per_head: bool, values: bool) -> None:
    position = {"type": "shaw", "back": 5, "values": values, "per_head": per_head}
    module = built(position if causal else {**position, "ahead": 3}, causal, kv_heads=kv_heads)
    ahead = 0 if causal else 3

    def row(table: Any, head: int, distance: int) -> Tensor:
        vectors = table.weight.unflatten(-1, (HEADS if per_head else 1, E))
        found: Tensor = vectors[min(max(distance, -ahead), 5) + ahead, head if per_head else 0]
        return found

    def score(head: int, q: Tensor, k: Tensor, distance: int) -> Tensor:
        return q @ (k + row(module.position.k, head, distance))

    def value(head: int, v: Tensor, distance: int) -> Tensor:
        return v + row(module.position.v, head, distance) if values else v

    x = tokens()
    agree(module, causal, [by_pairs(module, each, causal, score, value) for each in x], x)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_transformer_xl_is_the_papers_equations(causal: bool, kv_heads: int) -> None:
    module = built({"type": "transformer_xl", "theta": 300.0}, causal, kv_heads=kv_heads)
    position = module.position

    def score(head: int, q: Tensor, k: Tensor, distance: int) -> Tensor:
        wave = distance * 300.0 ** -(torch.arange(0, D, 2, dtype=torch.float64) / D)
        r = position.r.weight.unflatten(0, (HEADS, E))[head] @ torch.cat([wave.sin(), wave.cos()])
        return q @ k + q @ r + position.preferences.u[head] @ k + position.preferences.v[head] @ r

    # The frequencies are kept in float32, which is what differs here.
    position._frequency_F = 300.0 ** -(torch.arange(0, D, 2).double() / D)
    position._waves = lambda position_BN, dtype: tuple(
        f(position_BN[:, None, :, None] * position._frequency_F) for f in (torch.sin, torch.cos)
    )
    x = tokens()
    agree(module, causal, [by_pairs(module, each, causal, score) for each in x], x)


RENAMED = {"linear_q": "q", "linear_k": "k", "linear_v": "v", "linear_out": "o", "linear_pos": "position.r"}
RENAMED |= {"pos_bias_u": "position.preferences.u", "pos_bias_v": "position.preferences.v"}
RENAMED |= {"distance_embedding": "position.k"}


def renamed(name: str) -> str:
    head, dot, tail = name.partition(".")
    return RENAMED[head] + dot + tail


def theirs(module: nn.Module, x_BTD: Tensor, keep: Tensor, **said: Any) -> Tensor:
    mask = torch.zeros(2, 1, LENGTH, LENGTH).masked_fill(~keep[:, None, None, :], torch.finfo(torch.float32).min)
    found: Tensor = module(x_BTD, attention_mask=mask, **said)[0]
    return found


@pytest.mark.parametrize("family", ["transformer_xl", "shaw"])
def test_they_are_the_librarys(family: str) -> None:
    sizes = {"hidden_size": D, "num_attention_heads": HEADS, "attention_dropout": 0.0, "attn_implementation": "eager"}
    said: dict[str, Any] = {}
    x = tokens().float()
    if family == "transformer_xl":
        from transformers.models.wav2vec2_conformer import modeling_wav2vec2_conformer as library

        config = library.Wav2Vec2ConformerConfig(**sizes, position_embeddings_type="relative")
        reference: nn.Module = library.Wav2Vec2ConformerSelfAttention(config)
        said["relative_position_embeddings"] = library.Wav2Vec2ConformerRelPositionalEmbedding(config)(x)
        position: dict[str, Any] = {"type": "transformer_xl"}
    else:
        from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as bert

        settings = {"left_max_position_embeddings": 5, "right_max_position_embeddings": 3}
        made = bert.Wav2Vec2BertConfig(**sizes, **settings, position_embeddings_type="relative_key")
        reference = bert.Wav2Vec2BertSelfAttention(made)
        position = {"type": "shaw", "back": 5, "ahead": 3, "values": False}
    torch.manual_seed(0)
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = built(position, False, bias=True).float()
    weights = {renamed(name): value for name, value in reference.state_dict().items()}
    if family == "transformer_xl":  # their sines and cosines take turns, the paper's stand in halves
        weights["position.r.weight"] = weights["position.r.weight"].unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    else:  # their distances are counted the other way
        weights["position.k.weight"] = weights["position.k.weight"].flip(0)
    ours.load_state_dict(weights)
    keep = torch.ones(2, LENGTH, dtype=torch.bool)
    keep[1, -PADS:] = False
    with torch.no_grad():
        expected = theirs(reference.eval(), x, keep, **said)[keep]
        found = ours(x, Flow.of(2, LENGTH, attention_mask=keep))[0][keep]
    assert (found - expected).abs().max() <= 2e-5 * expected.std()


def faults(position: dict[str, Any], **changes: Any) -> list[Fault]:
    return list(as_faults(Position.of(position).check(replace(SITE, heads=HEADS, width=E, **changes))))


def test_what_is_never_used_is_refused() -> None:
    (fault,) = faults({"type": "shaw", "ahead": 2})
    assert fault.at == "ahead"
    assert "no query sees a later key" in fault.message
    assert not faults({"type": "shaw", "ahead": 2}, causal=False)
    assert not faults({"type": "transformer_xl"})
    (fault,) = faults({"type": "transformer_xl"}, d_model=25)
    assert "d_model 25 is odd" in fault.message


@pytest.mark.parametrize(("values", "backend"), [(True, "dense"), (False, "sdpa")])
def test_the_plan_knows_what_computes_it(values: bool, backend: str) -> None:
    said = Attention.of({"type": "multi_head", "heads": HEADS, "position": {"type": "shaw", "values": values}})
    assert said.filled(SITE).choice(SITE, 40, "cpu").name == backend
