"""Latent attention: what it keeps of a token, what it says, and its ways of computing one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.component import Fault, Site, as_faults
from blueprint.kinds import Attention
from blueprint.ops import Flow
from blueprint_registry.attention.latent_nn import LatentAttention

SITE = Site(d_model=24, width=24, path="attention", max_length=64)
WIDTHS = {"heads": 4, "kv_rank": 12, "nope_dim": 6, "rope_dim": 4, "value_dim": 10}
LENGTH = 17

#: DeepSeek-V3's attention (DeepSeek-AI, 2024, section 4.2) around dense layers.
V3: dict[str, Any] = {
    "type": "decoder",
    "vocab_size": 129280,
    "d_model": 7168,
    "layers": 61,
    "max_length": 4096,
    "block": {
        "attention": {
            "type": "latent",
            "heads": 128,
            "q_rank": 1536,
            "kv_rank": 512,
            "nope_dim": 128,
            "rope_dim": 64,
            "value_dim": 128,
        },
        "feed_forward": {"type": "gated", "d_ff": 18432},
    },
}


def said(**fields: Any) -> Any:
    return Attention.of({"type": "latent", **WIDTHS, **fields})


def built(**fields: Any) -> LatentAttention:
    made: LatentAttention = said(**fields).filled(SITE).build(SITE).eval()
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.double()


def tokens(length: int = LENGTH) -> Tensor:
    return torch.randn(2, length, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_deepseek_v3_keeps_70272_bytes_of_a_token() -> None:
    spec = bp.load({"model": V3, "trainer": {"precision": "bf16-true"}})
    found = bp.cost(spec, length=8)
    assert found.cache_bytes_per_token == 61 * (512 + 64) * 2 == 70_272
    # Queries through their rank, keys and values through theirs, the output, two norms.
    attention = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168 + 1536 + 512
    assert found.layers[0].by_part["attention"] == attention == 187_107_328
    assert "68.62 KiB" in str(found)


def test_only_latent_vectors_and_turned_keys_are_kept_and_nothing_is_expanded(monkeypatch: Any) -> None:
    module, x = built(), tokens()
    state = module.new_state(2, LENGTH, torch.float64)
    assert state.nbytes == 2 * LENGTH * (12 + 4) * 8
    whole, _ = module(x, Flow.of(2, LENGTH))
    first, _ = module(x[:, :5], Flow.of(2, 5), state)
    monkeypatch.setattr(module, "_expanded", None)
    found, seen = [first], 5
    for size in (1, 3, LENGTH - 9):
        flow = Flow.of(2, size, seen=seen)
        found.append(module(x[:, seen : seen + size], flow, state)[0])
        seen += size
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-12)


def by_formula(module: LatentAttention, x_TD: Tensor) -> Tensor:
    """Equations 9 to 19 of DeepSeek-V2, without positions, one query and head at a time."""
    latent, shared = module.kv_down(x_TD).split((12, 4), -1)
    kv = module.kv_up(module.kv_norm(latent)).unflatten(-1, (4, 16))
    q = module.q_up(module.q_norm(module.q_down(x_TD))).unflatten(-1, (4, 10))
    out = torch.zeros(len(x_TD), 4, 10, dtype=x_TD.dtype)
    for i in range(len(x_TD)):
        for head in range(4):
            k = torch.cat([kv[: i + 1, head, :6], shared[: i + 1]], -1)
            out[i, head] = (k @ q[i, head] / 10**0.5).softmax(0) @ kv[: i + 1, head, 6:]
    found: Tensor = module.o(out.flatten(1))
    return found


def test_it_is_the_papers_equations() -> None:
    module, x = built(q_rank=14, bias=True, position="none"), tokens()
    expected = torch.stack([by_formula(module, each) for each in x])
    torch.testing.assert_close(module(x, Flow.of(2, LENGTH))[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["dense", "blocked", "sdpa"])
@pytest.mark.parametrize("position", ["rope", "alibi", "t5_bias"])
def test_backends_agree(backend: str, position: str) -> None:
    window = {"mask": {"type": "sliding", "window": 5}, "position": position}
    x, flow = tokens(), Flow.of(2, LENGTH)
    expected, _ = built(**window)(x, flow)
    torch.testing.assert_close(built(**window, backend=backend)(x, flow)[0], expected, rtol=0, atol=1e-12)


def test_yarn_sharpens_scores_by_the_square_of_its_second_scale() -> None:
    yarn = {"type": "yarn", "factor": 4.0, "original_length": 16, "beta_fast": 4.0}
    plain = built(position={"type": "rope", "scaling": yarn}).scale
    scaled = built(position={"type": "rope", "scaling": {**yarn, "mscale": 1.0, "mscale_all_dim": 0.5}}).scale
    assert plain == pytest.approx(10**-0.5)
    # 0.1 · 0.5 · ln 4 + 1, squared.
    assert scaled / plain == pytest.approx((0.05 * 1.3862943611 + 1) ** 2)


def test_latent_norms_keep_their_eps_whatever_the_models_is() -> None:
    spec = bp.load(
        {
            "model": {
                "type": "decoder",
                "vocab_size": 61,
                "d_model": 24,
                "layers": 1,
                "norm": {"type": "rms", "eps": 1e-3, "offset": 1},
                "block": {"attention": {"type": "latent", **WIDTHS, "q_rank": 14}},
            }
        }
    )
    layer: Any = bp.build(spec).layers[0]
    assert layer.attention_norm.eps == 1e-3
    assert (layer.attention.q_norm.eps, layer.attention.kv_norm.eps) == (1e-6, 1e-6)
    assert layer.attention.kv_norm.offset == 0


def faults(**fields: Any) -> list[Fault]:
    return list(as_faults(said(**fields).check(SITE)))


def test_what_cannot_be_is_said() -> None:
    assert not faults()
    (fault,) = faults(position="shaw")
    assert fault.at == "position"
    assert "`shaw` reads the keys of every head" in fault.message
    (fault,) = faults(backend="blocked")
    assert fault.at == "backend"
    with pytest.raises(ValueError, match="names no mask"):
        said(mask=[])
    with pytest.raises(ValueError, match="hides nothing"):
        said(mask=["full", "document"])
    with pytest.raises(ValueError, match="sees later tokens"):
        said().filled(open_ := replace(SITE, causal=False)).build(open_).new_state(1, 4)


def test_its_miniature_is_small_and_whole() -> None:
    model: Any = {**V3, "layers": 2, "block": {**V3["block"]}}
    plan = bp.plan(bp.load({"model": model})).miniature()
    attention: Any = next(iter(plan.stacks.values()))[0].block.attention  # type: ignore[attr-defined]
    assert (attention.heads, attention.rope_dim, attention.q_rank) == (4, 8, 24)
