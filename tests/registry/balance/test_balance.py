"""Balances compute what their papers write, and what the transformers library computes.

N tokens, B sequences of T tokens, E experts, K choices, D groups of experts.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import blueprint as bp
from blueprint.component import Site
from blueprint.ops import Flow, Routing
from blueprint.registry import member
from blueprint.testing.tiny import tiny

B, T, E, K, D, M = 3, 7, 12, 4, 4, 2


def drawn(seed: int = 0, *, experts: int = E, k: int = K, sigmoid: bool = False) -> Routing:
    """Random logits, and the choices within the best groups of each token."""
    logits_NE = 2 * torch.randn(B * T, experts, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    score_NE = logits_NE.sigmoid() if sigmoid else logits_NE.softmax(-1)
    p_NE = score_NE / score_NE.sum(-1, keepdim=True)
    best_NM = p_NE.unflatten(-1, (D, -1)).amax(-1).topk(M).indices
    allowed_ND = torch.zeros(B * T, D, dtype=torch.bool).scatter_(1, best_NM, True)
    allowed_NE = allowed_ND.repeat_interleave(experts // D, 1)
    weight_NK, expert_NK = p_NE.masked_fill(~allowed_NE, 0).topk(k)
    return Routing(expert_NK, weight_NK, experts, logits_NE, p_NE, p_NE)


def told(name: str, routing: Routing, keep_BT: Tensor | None = None, **fields: Any) -> dict[str, Tensor]:
    """What a balance says of a routing."""
    extra = {"experts": routing.experts, "groups": D, "kept": M, "gives": frozenset()}
    site = Site(d_model=8, width=8, extra=extra)
    part = member("balance", name)(**fields).build(site)
    flow = Flow.of(B, T, "cpu", keep_BT)
    terms: dict[str, Tensor] = part(routing.kept(keep_BT), flow)
    return terms


def loops(routing: Routing, tokens: range | list[int]) -> tuple[list[float], list[float], list[float]]:
    """f and P of every expert (DeepSeek-V2, eq. 13–14), and f″ of every group (eq. 19), token by token."""
    chosen, p_NE = routing.expert_NK.tolist(), routing.probability_NE
    assert p_NE is not None
    count, experts = len(tokens), routing.experts
    f = [experts / (K * count) * sum(i in chosen[t] for t in tokens) for i in range(experts)]
    p = [sum(float(p_NE[t, i]) for t in tokens) / count for i in range(experts)]
    size = experts // D
    sent = [D / (M * count) * sum(any(i // size == d for i in chosen[t]) for t in tokens) for d in range(D)]
    return f, p, sent


def written(name: str, routing: Routing, tokens: range | list[int]) -> float:
    """The losses of the paper over some tokens, with a coefficient of 1 (DeepSeek-V2, eq. 12, 15–17, 18–20)."""
    f, p, sent = loops(routing, tokens)
    size = routing.experts // D
    groups = [range(d * size, (d + 1) * size) for d in range(D)]
    p_group = [sum(p[i] for i in group) for group in groups]
    if name == "expert":
        return sum(a * b for a, b in zip(f, p, strict=True))
    if name == "device":
        return sum(sum(f[i] for i in group) / size * q for group, q in zip(groups, p_group, strict=True))
    return sum(a * b for a, b in zip(sent, p_group, strict=True))


SEQUENCES = [range(b * T, (b + 1) * T) for b in range(B)]
PADDED = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [0] * 3 + [1] * 4], dtype=torch.bool)
KEPT = [[b * T + t for t in range(T) if PADDED[b, t]] for b in range(B)]


@pytest.mark.parametrize("name", ["expert", "device", "communication"])
@pytest.mark.parametrize("padded", [False, True])
def test_v2s_losses_are_those_of_the_paper(name: str, padded: bool) -> None:
    routing, keep_BT, rows = drawn(), PADDED if padded else None, KEPT if padded else SEQUENCES
    (sequence,) = told(name, routing, keep_BT, weight=0.5, over="sequence").values()
    (batch,) = told(name, routing, keep_BT, weight=0.5).values()
    assert float(sequence) == pytest.approx(0.5 * sum(written(name, routing, row) for row in rows) / B, rel=1e-6)
    assert float(batch) == pytest.approx(0.5 * written(name, routing, [t for row in rows for t in row]), rel=1e-6)


def test_v3s_sequence_loss_is_that_of_the_paper() -> None:
    """Scores are sigmoids, made shares of each token (DeepSeek-V3, eq. 17–20), whatever bias the choice was made by."""
    routing = drawn(sigmoid=True)
    s_NE = routing.logits_NE.sigmoid()  # type: ignore[union-attr]
    total = 0.0
    for row in SEQUENCES:
        for i in range(E):
            f = E / (K * T) * sum(i in routing.expert_NK[t].tolist() for t in row)
            total += f * sum(float(s_NE[t, i] / s_NE[t].sum()) for t in row) / T
    assert float(told("expert", routing, weight=1e-4, over="sequence")["balance_loss"]) == pytest.approx(
        1e-4 * total / B, rel=1e-6
    )


@pytest.mark.parametrize("padded", [False, True])
def test_gshards_loss_counts_first_choices_ahead_of_any_capacity(padded: bool) -> None:
    """1/E Σ (c_e / S) m_e over a group of S tokens, c_e of which have e as their first expert (Lepikhin et al., 2020,
    Algorithm 1, lines 2–13): ours is E² times it."""
    routing, keep_BT, rows = drawn(k=2), PADDED if padded else None, KEPT if padded else SEQUENCES
    total = 0.0
    for row in rows:
        gates = [[float(gate) for gate in routing.probability_NE[t]] for t in row]  # type: ignore[index]
        allowed = [routing.expert_NK[t].tolist() for t in row]
        c, m = [0] * E, [sum(gate[e] for gate in gates) / len(row) for e in range(E)]
        for gate, each in zip(gates, allowed, strict=True):
            c[max(each, key=lambda e: gate[e])] += 1
        total += sum(c[e] / len(row) * m[e] for e in range(E)) / E
    (ours,) = told("expert", routing, keep_BT, weight=0.5, over="sequence", choices="first").values()
    assert float(ours) == pytest.approx(0.5 * E**2 * total / B, rel=1e-6)


@pytest.mark.parametrize("name", ["expert", "device", "communication"])
def test_an_even_load_costs_the_weight(name: str) -> None:
    """Every token sends its choices to the two groups that are its turn, and no expert is more probable."""
    size, expert_NK = E // D, torch.empty(B * D * 3, K, dtype=torch.long)
    for t in range(len(expert_NK)):
        pairs = [(t % D) * size + (t // D + j) % size for j in range(2)]
        expert_NK[t] = torch.tensor([*pairs, *((i + size) % E for i in pairs)])
    even_NE = torch.full((len(expert_NK), E), 1 / E)
    routing = Routing(expert_NK, torch.ones_like(expert_NK).float(), E, even_NE, even_NE, even_NE)
    extra = {"experts": E, "groups": D, "kept": M, "gives": frozenset()}
    part = member("balance", name)(weight=0.25).build(Site(d_model=8, width=8, extra=extra))
    (loss,) = part(routing, Flow.of(len(expert_NK) // 4, 4, "cpu")).values()
    assert float(loss) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_over_layers_is_the_loss_of_the_transformers_library(padded: bool) -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    layers, keep_BT = 3, PADDED if padded else None
    logits = [2 * torch.randn(B * T, E, generator=torch.Generator().manual_seed(i)) for i in range(layers)]
    wanted = load_balancing_loss_func(tuple(logits), E, K, None if keep_BT is None else keep_BT.long())
    part = member("balance", "expert")(weight=0.02 * K, over="layers").build(
        Site(d_model=8, width=8, extra={"experts": E, "groups": None, "kept": None, "gives": frozenset()})
    )
    flow, total = Flow.of(B, T, "cpu", keep_BT), torch.tensor(0.0)
    for logits_NE in logits:
        p_NE = logits_NE.softmax(-1)
        weight_NK, expert_NK = p_NE.topk(K)
        routing = Routing(expert_NK, weight_NK, E, logits_NE, p_NE, p_NE).kept(keep_BT)
        total = total + part(routing, flow)["balance_loss"]
    torch.testing.assert_close(total, 0.02 * wanted, rtol=1e-5, atol=1e-7)


def test_switchs_losses_are_those_of_the_transformers_library() -> None:
    from transformers.models.switch_transformers import modeling_switch_transformers as switch

    logits_BTE = 2 * torch.randn(B, T, E, generator=torch.Generator().manual_seed(0))
    p_BTE = logits_BTE.softmax(-1)
    best_BT = p_BTE.argmax(-1)
    p_NE = p_BTE.flatten(0, 1)
    routing = Routing(best_BT.flatten()[:, None], p_NE.amax(-1, keepdim=True), E, logits_BTE.flatten(0, 1), p_NE, p_NE)
    wanted = switch.load_balancing_loss_func(p_BTE, best_BT)
    ours = told("expert", routing, weight=0.01, over="sequence")["balance_loss"]
    torch.testing.assert_close(ours, 0.01 * wanted, rtol=1e-5, atol=1e-8)
    ours = told("z", routing, weight=0.001)["router_z_loss"]
    torch.testing.assert_close(ours, 0.001 * switch.router_z_loss_func(logits_BTE), rtol=1e-5, atol=1e-8)


def test_the_z_loss_passes_over_padding() -> None:
    routing = drawn()
    kept_N = PADDED.flatten()
    wanted = sum(float(row.exp().sum().log() ** 2) for row in routing.logits_NE[kept_N])  # type: ignore[index]
    found = told("z", routing, PADDED, weight=0.5)["router_z_loss"]
    assert float(found) == pytest.approx(0.5 * wanted / int(kept_N.sum()), rel=1e-6)


class Holder:
    """A router as far as a balance may touch it."""

    def __init__(self) -> None:
        self.correction = torch.zeros(4)


def test_the_bias_follows_the_sign_of_what_each_expert_lacks() -> None:
    """b ← b + u · sign(mean load − load) (Wang et al., 2024, algorithm 1)."""
    part = member("balance", "bias")(rate=0.25).build(Site(d_model=8, width=8))
    router = Holder()
    part.adjust(router, torch.tensor([6.0, 2.0, 4.0, 4.0]))
    assert router.correction.tolist() == [-0.25, 0.25, 0.0, 0.0]
    part.adjust(router, torch.tensor([1.0, 0.0, 0.0, 15.0]))
    assert router.correction.tolist() == [0.0, 0.5, 0.25, -0.25]


def test_the_bias_evens_out_a_router_that_prefers_some_experts() -> None:
    said = tiny("balance", "bias", {"rate": 0.02})
    said["model"]["block"]["feed_forward"]["router"] = {"type": "top_k", "k": 1, "correction": "score"}
    model = bp.build(bp.load(said)).train()
    parts = [module for module in model.modules() if hasattr(module, "settle")]
    ids = torch.randint(said["model"]["vocab_size"], (4, 16), generator=torch.Generator().manual_seed(0))
    for part in parts:
        part.router.logits.weight.data.mul_(20)
    worst = []
    for _ in range(60):
        model(ids)
        worst.append(max(float(part.settle(torch.clone)["max_violation"]) for part in parts))  # type: ignore[operator]
    assert min(worst[-20:]) < 0.5 * worst[0]


def test_what_a_router_does_not_give_is_refused_with_the_way_out() -> None:
    for name, needed in (("device", "groups of experts"), ("communication", "groups"), ("bias", "a correction")):
        said = tiny("balance", name)
        said["model"]["block"]["feed_forward"]["router"] = {"type": "top_k"}
        with pytest.raises(bp.SpecError, match=f"balance `{name}` needs {needed}[^\n]*"):
            bp.plan(bp.load(said))
