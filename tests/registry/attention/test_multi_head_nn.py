"""What multi-head attention computes, held against torch's own, plain formulas, and itself computed another way."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.kinds import Attention
from blueprint.ops import Flow
from blueprint_registry.attention.multi_head_nn import MultiHeadAttention

SITE = Site(d_model=24, width=24, path="attention", max_length=64)
MASKS = {
    "full": "full",
    "sliding": {"type": "sliding", "window": 5},
    "document": "document",
    "chunked": {"type": "chunked", "chunk": 4},
    "both": [{"type": "sliding", "window": 5}, "document"],
}


def built(causal: bool = True, **fields: Any) -> MultiHeadAttention:
    """The module of a spec, every tensor of it random, so that no initial value hides a mistake."""
    at = Site(d_model=24, width=24, path="attention", max_length=64, causal=causal)
    torch.manual_seed(0)
    module: MultiHeadAttention = Attention.of({"type": "multi_head", **fields}).filled(at).build(at)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def tokens(batch: int, length: int, width: int = 24) -> Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(1))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def by_formula(module: MultiHeadAttention, x_BTD: Tensor, seen_TS: Tensor) -> Tensor:
    """softmax(cap(q k / scale)) v, head by head, in float64 (positions and norms left out)."""
    module, x_BTD = module.double(), x_BTD.double()
    q, k, v = module.q(x_BTD), module.k(x_BTD), module.v(x_BTD)
    heads, shared = q.shape[-1] // module.head_dim, k.shape[-1] // module.head_dim
    out = []
    for head in range(heads):
        source = head * shared // heads
        q_BTE = q[..., head * module.head_dim :][..., : module.head_dim]
        k_BSE = k[..., source * module.head_dim :][..., : module.head_dim]
        v_BSV = v[..., source * module.value_dim :][..., : module.value_dim]
        score_BTS = torch.einsum("bte,bse->bts", q_BTE, k_BSE) * module.scale
        if module.softcap:
            score_BTS = module.softcap * torch.tanh(score_BTS / module.softcap)
        out.append(score_BTS.masked_fill(~seen_TS, -math.inf).softmax(-1) @ v_BSV)
    return module.o(torch.cat(out, -1)).float()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_it_is_torchs_multi_head_attention(causal: bool, padded: bool) -> None:
    ours = built(causal, heads=6, bias=True, position="none")
    theirs = nn.MultiheadAttention(24, 6, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.weight.copy_(ours.o.weight)
        theirs.out_proj.bias.copy_(ours.o.bias)
        x = tokens(2, 9)
        keep = torch.ones(2, 9, dtype=torch.bool)
        keep[1, 6:] = not padded
        later = torch.ones(9, 9, dtype=torch.bool).triu(1) if causal else None
        expected, _ = theirs(x, x, x, key_padding_mask=~keep, attn_mask=later, need_weights=False)
        found, terms = ours(x, Flow.of(2, 9, attention_mask=keep))
    assert terms == {}
    close(found[keep], expected[keep])


@pytest.mark.parametrize(
    "fields",
    [
        {"kv_heads": 2},
        {"kv_heads": 1, "head_dim": 8, "value_dim": 5},
        {"bias": ["q", "v"], "scale": 1},
        {"softcap": 2.0, "value_dim": 12, "kv_heads": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_it_is_the_formula_under_an_explicit_mask(fields: dict[str, Any], causal: bool, window: int | None) -> None:
    mask = "full" if window is None else {"type": "sliding", "window": window}
    module = built(causal, heads=6, position="none", mask=mask, **fields)
    distance = torch.arange(70)[:, None] - torch.arange(70)[None, :]
    seen = distance >= 0 if causal else distance == distance
    if window is not None:
        seen = seen & (distance < window if causal else distance.abs() <= window)
    with torch.no_grad():
        found, _ = module(tokens(2, 70), Flow.of(2, 70))
        close(found, by_formula(module, tokens(2, 70), seen))


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
def test_shared_keys_are_keys_repeated(kv_heads: int) -> None:
    shared, own = built(heads=6, kv_heads=kv_heads), built(heads=6)
    weights = shared.state_dict()
    for name in ("k.weight", "v.weight"):
        weights[name] = weights[name].unflatten(0, (kv_heads, 4)).repeat_interleave(6 // kv_heads, 0).flatten(0, 1)
    own.load_state_dict(weights)
    flow = Flow.of(2, 11)
    close(shared(tokens(2, 11), flow)[0], own(tokens(2, 11), flow)[0])


@pytest.mark.parametrize("over", ["head", "heads", "full"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "norm", ["rms", {"type": "layer", "bias": False}, {"type": "layer", "offset": 1}, {"type": "rms", "affine": False}]
)
def test_queries_and_keys_are_normed_as_said(over: str, when: str, norm: Any) -> None:
    """Written out with one call of the position and one norm a head, then through plain attention."""
    module = built(heads=6, kv_heads=2, qk_norm={"over": over, "when": when, "norm": norm})
    bare = built(heads=6, kv_heads=2, position="none")
    bare.load_state_dict({name: value for name, value in module.state_dict().items() if "norm" not in name})
    x, flow = tokens(2, 7), Flow.of(2, 7)

    def normed(module_norm: nn.Module, x_BTHE: Tensor) -> Tensor:
        rows = x_BTHE.flatten(2) if over == "full" else x_BTHE
        weight = getattr(module_norm, "weight", None)
        one = weight[:, None].unbind(0) if over == "heads" and weight is not None else None
        plain = "layer" if "layer" in str(norm) else "rms"
        eps, offset = (1e-5, int("offset" in str(norm))) if plain == "layer" else (1e-6, 0)
        rows = rows - rows.mean(-1, keepdim=True) if plain == "layer" else rows
        rows = rows / (rows.square().mean(-1, keepdim=True) + eps).sqrt()
        if weight is not None:
            rows = rows * (torch.cat(one) if one is not None else weight) + rows * offset
        bias = getattr(module_norm, "bias", None)
        return (rows if bias is None else rows + bias).view(x_BTHE.shape)

    def turned(x_BTHE: Tensor) -> Tensor:
        return module.position.rotate(x_BTHE.transpose(1, 2), flow.position_BT).transpose(1, 2)

    made = {}
    for name in "qk":
        part = getattr(module, name)(x).unflatten(-1, (-1, 4))
        norm_of = getattr(module, f"{name}_norm")
        made[name] = turned(normed(norm_of, part)) if when == "before" else normed(norm_of, turned(part))
    # Attention over given queries and keys: projections that hand them through.
    bare.q, bare.k = (_Given(made[name].flatten(2)) for name in "qk")
    close(module(x, flow)[0], bare(x, flow)[0])


class _Given(nn.Module):
    """Gives what it was given at first."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        return self.out


def test_a_norm_for_each_head_holds_its_weights_stacked_under_the_norms_names() -> None:
    module = built(heads=6, kv_heads=2, qk_norm={"over": "heads", "norm": "layer"})
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if "norm" in name}
    assert shapes == {
        f"{n}_norm.{w}": (h, 4) for (n, h), w in itertools.product([("q", 6), ("k", 2)], ["weight", "bias"])
    }
    module.q_norm.reset_parameters()  # type: ignore[operator]
    assert torch.equal(module.q_norm.weight, torch.ones(6, 4))
    assert torch.equal(module.q_norm.bias, torch.zeros(6, 4))


# -- decoding ---------------------------------------------------------------------------------------------------------


LENGTH, PROMPT = 14, 9
PADDING = {
    "none": [[1] * LENGTH, [1] * LENGTH],
    "left": [[1] * LENGTH, [0] * 4 + [1] * (LENGTH - 4)],
    "right": [[1] * LENGTH, [1] * 6 + [0] * (PROMPT - 6) + [1] * (LENGTH - PROMPT)],
}
CHUNKS = {"prompt": [PROMPT], "chunks": [3, 2, PROMPT - 5], "steps": [1] * PROMPT}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("padding", PADDING.values(), ids=PADDING)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("position", ["none", "rope", "t5_bias"])
@pytest.mark.parametrize("kv_heads", [6, 2, 1])
def test_step_by_step_equals_all_at_once(
    kv_heads: int, position: str, mask: Any, padding: list[list[int]], chunks: list[int]
) -> None:
    module = built(heads=6, kv_heads=kv_heads, position=position, mask=mask)
    x, keep = tokens(2, LENGTH), torch.tensor(padding)
    segments = (
        torch.tensor([[0] * 4 + [1] * (LENGTH - 4), [0] * 7 + [1] * (LENGTH - 7)]) if "document" in str(mask) else None
    )
    flow = Flow.of(2, LENGTH, attention_mask=keep, segment_ids=segments)
    with torch.no_grad():
        whole, _ = module(x, flow)
        state = module.new_state(2, LENGTH, torch.float32, "cpu")
        seen, start, out = None, 0, []
        for size in [*chunks, *[1] * (LENGTH - PROMPT)]:
            here = slice(start, start + size)
            step = Flow.of(
                2,
                size,
                attention_mask=keep[:, here],
                segment_ids=None if segments is None else segments[:, here],
                position_ids=None if segments is None else flow.position_BT[:, here],
                seen=seen,
            )
            out.append(module(x[:, here], step, state)[0])
            seen, start = step.seen, start + size
    close(torch.cat(out, 1)[keep.bool()], whole[keep.bool()])


def test_a_window_needs_no_more_room_than_itself() -> None:
    widths = {"heads": 6, "kv_heads": 2, "value_dim": 8}
    near = built(mask=MASKS["sliding"], **widths).new_state(2, 64, torch.float32, "cpu")
    far = built(**widths).new_state(2, 64, torch.float32, "cpu")
    assert (near.nbytes, far.nbytes) == tuple(2 * 2 * room * (4 + 8) * 4 for room in (5, 64))


def test_attention_that_sees_the_future_does_not_decode() -> None:
    module = built(causal=False, heads=6)
    assert not module.incremental
    assert built(heads=6).incremental
    with pytest.raises(ValueError, match="later tokens"):
        module.new_state(1, 8)


# -- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["none", "rope", "alibi"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_future_changes_nothing(position: str, mask: Any) -> None:
    module = built(heads=6, kv_heads=2, position=position, mask=mask, qk_norm={"over": "full"})
    x = tokens(1, 12)
    changed = torch.cat([x[:, :7], -x[:, 7:]], 1)
    flow = Flow.of(1, 12, segment_ids=torch.tensor([[0] * 5 + [1] * 7]))
    close(module(x, flow)[0][:, :7], module(changed, flow)[0][:, :7])
    assert not torch.allclose(module(x, flow)[0][:, 7:], module(changed, flow)[0][:, 7:])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("position", ["none", "rope", "alibi", "t5_bias"])
@pytest.mark.parametrize("mask", ["full", "sliding"])
def test_padding_changes_nothing(causal: bool, side: str, position: str, mask: str) -> None:
    module = built(causal, heads=6, kv_heads=2, position=position, mask=MASKS[mask])
    x = tokens(1, 8)
    junk = torch.full((1, 3, 24), 50.0)
    padded = torch.cat([junk, x] if side == "left" else [x, junk], 1)
    keep = torch.tensor([[0] * 3 + [1] * 8 if side == "left" else [1] * 8 + [0] * 3])
    alone, _ = module(x, Flow.of(1, 8))
    among, _ = module(padded, Flow.of(1, 11, attention_mask=keep))
    close(among[keep.bool()], alone[0])


@pytest.mark.parametrize("backend", ["sdpa", "blocked", "dense"])
@pytest.mark.parametrize("position", ["rope", "alibi"])
def test_backends_agree_and_decoding_is_free_of_them(backend: str, position: str) -> None:
    said = {"heads": 6, "kv_heads": 2, "position": position, "mask": MASKS["sliding"]}
    auto, forced = built(**said), built(**said, backend=backend)
    flow = Flow.of(2, 20)
    close(auto(tokens(2, 20), flow)[0], forced(tokens(2, 20), flow)[0])
    state = forced.new_state(2, 20, torch.float32, "cpu")
    first = Flow.of(2, 10)
    forced(tokens(2, 20)[:, :10], first, state)
    forced(tokens(2, 20)[:, 10:11], Flow.of(2, 1, seen=first.seen), state)


@pytest.mark.parametrize("over", [None, "head", "heads", "full"])
@pytest.mark.parametrize("position", ["rope", "alibi"])
def test_a_gradient_reaches_every_parameter(over: str | None, position: str) -> None:
    norm = None if over is None else {"over": over, "norm": {"type": "layer"}}
    module = built(heads=6, kv_heads=2, bias=True, position=position, qk_norm=norm, dropout=0.1).train()
    module(tokens(2, 9), Flow.of(2, 9))[0].square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not (
            name == "k.bias" and position == "alibi" and over is None
        ):  # all keys moved alike move all scores alike
            assert parameter.grad.abs().max() > 1e-6, name


def test_weights_are_dropped_only_in_training_and_fairly() -> None:
    dropping, whole = built(heads=6, dropout=0.5), built(heads=6)
    x, flow = tokens(1, 8), Flow.of(1, 8)
    with torch.no_grad():
        close(dropping(x, flow)[0], whole(x, flow)[0])
        dropping.train()
        drawn = torch.stack([dropping(x, flow)[0] for _ in range(400)])
    assert drawn.std(0).max() > 0.05
    error = (drawn.mean(0) - whole(x, flow)[0]).abs() / (drawn.std(0) / 20 + 1e-6)
    assert error.max() < 5


# -- what single families add -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_bounds_follow_a_norm_that_comes_before_and_precede_one_that_comes_after(when: str) -> None:
    """With all three projections far beyond the bound, only their signs are left of them."""
    norm = {"when": when, "norm": {"type": "rms", "affine": False, "eps": 1e-12}}
    clipped = built(heads=6, clip=0.01, position="none", scale=1, qk_norm=norm)
    huge = built(heads=6, position="none", scale=1e-4 if when == "before" else 1)
    huge.load_state_dict(clipped.state_dict())
    x, flow = 1e4 * tokens(2, 7), Flow.of(2, 7)
    signs = {name: _Given(getattr(clipped, name)(x).sign()) for name in "qkv"}
    huge.q, huge.k, huge.v = signs["q"], signs["k"], signs["v"]
    huge.value_scale = 0.01
    close(clipped(x, flow)[0], huge(x, flow)[0])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_norm_without_weight_stands_where_it_is_said_to(when: str) -> None:
    """A turned vector is as long as it was: no output tells the order, what the norm is given does."""
    made = built(heads=6, position="rope", qk_norm={"when": when, "norm": {"type": "rms", "affine": False}})
    x, flow, given = tokens(2, 7), Flow.of(2, 7), []
    made.q_norm.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    made(x, flow)
    plain_BTHE = made.q(x).unflatten(-1, (6, -1))
    turned_BTHE = made.position.rotate(plain_BTHE.transpose(1, 2), flow.position_BT).transpose(1, 2)
    assert not torch.allclose(plain_BTHE, turned_BTHE, atol=1e-3)
    close(given[0], plain_BTHE if when == "before" else turned_BTHE)


def test_values_are_multiplied() -> None:
    scaled, plain = built(heads=6, value_scale="1 / 4", softcap=2.0), built(heads=6, softcap=2.0)
    flow = Flow.of(2, 7)
    close(scaled(tokens(2, 7), flow)[0], plain(tokens(2, 7), flow)[0] / 4)


@pytest.mark.parametrize("mask", ["full", "sliding"])
def test_a_sink_is_a_key_of_its_own_whose_value_is_zero(mask: str) -> None:
    module = built(heads=6, kv_heads=2, sinks=True, position="none", mask=MASKS[mask])
    plain = built(heads=6, kv_heads=2, position="none", mask=MASKS[mask])
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if name != "sinks"})
    x, flow, window = tokens(2, 70), Flow.of(2, 70), 5 if mask == "sliding" else 70
    q, k = (getattr(module, n)(x).unflatten(-1, (-1, 4)).transpose(1, 2) for n in "qk")
    scores = q @ k.repeat_interleave(3, 1).transpose(-1, -2) * module.scale
    distance = torch.arange(70)[:, None] - torch.arange(70)
    total = scores.masked_fill((distance < 0) | (distance >= window), -math.inf).logsumexp(-1)
    assert module.sinks is not None
    share = torch.sigmoid(total - module.sinks[:, None]).transpose(1, 2).repeat_interleave(4, -1)
    module.o = plain.o = nn.Identity()  # type: ignore[assignment]
    close(module(x, flow)[0], share * plain(x, flow)[0])


def test_temperature_follows_the_positions_that_are_said() -> None:
    module = built(heads=6, position="none", temperature={"scale": 2.0, "floor": 3, "offset": 1})
    x = tokens(1, 6)
    positions = torch.tensor([[4, 9, 2, 30, 1, 8]])
    factor = 1 + 2 * torch.log1p(((positions + 1) // 3).float())
    plain = built(heads=6, position="none")
    plain.load_state_dict(module.state_dict())
    plain.q = _Given(module.q(x) * factor[..., None])
    close(module(x, Flow.of(1, 6, position_ids=positions))[0], plain(x, Flow.of(1, 6))[0])


@pytest.mark.parametrize("per", ["element", "head"])
def test_what_is_gathered_is_normed_then_gated(per: str) -> None:
    module = built(heads=6, value_dim=5, inner_norm="layer", gate={"per": per, "bias": True})
    x, flow = tokens(2, 7), Flow.of(2, 7)
    seen = module.o.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    kept: list[Tensor] = []
    module(x, flow)
    norm, module.inner_norm, gate, module.gate = module.inner_norm, None, module.gate, None
    module(x, flow)
    seen.remove()
    gates = gate(x).sigmoid()
    close(kept[0], norm(kept[1]) * (gates if per == "element" else gates.repeat_interleave(5, -1)))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("extra", [{}, {"sinks": True}, {"softcap": 3.0}, {"position": "t5_bias"}], ids=str)
def test_chunks_are_computed_alike_by_every_backend(causal: bool, extra: dict[str, Any]) -> None:
    said = {"heads": 6, "kv_heads": 2, "mask": {"type": "chunked", "chunk": 48}, **extra}
    blocked, dense = (built(causal, **said, backend=backend) for backend in ("blocked", "dense"))
    x, keep = tokens(2, 150), torch.ones(2, 150, dtype=torch.bool)
    keep[1, :9] = False
    for mask in (None, keep):
        flow = Flow.of(2, 150, attention_mask=mask)
        close(blocked(x, flow)[0], dense(x, flow)[0])
    alone = dense(x[:, 48:96], Flow.of(2, 48, position_ids=torch.arange(48, 96).expand(2, 48)))[0]
    close(dense(x, Flow.of(2, 150))[0][:, 48:96], alone)


def test_every_new_parameter_learns() -> None:
    module = built(
        heads=6, sinks=True, clip=2.0, inner_norm="rms", gate={"per": "head", "bias": True}, position="t5_bias"
    )
    module(tokens(2, 40), Flow.of(2, 40))[0].square().sum().backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-7]
    assert not still


def test_scale_is_said_or_one_over_the_root_of_the_heads_width() -> None:
    assert built(heads=6, head_dim=16).scale == 0.25
    assert built(heads=6, scale="layer + 3").scale == 3.0
