"""Noisy top-k gating and its two losses against the equations of Shazeer et al. (2017)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import blueprint as bp
from blueprint.component import Site
from blueprint_registry.balance.importance import Importance
from blueprint_registry.balance.load import Load
from blueprint_registry.router.noisy_top_k import NoisyTopK
from blueprint_registry.router.top_k import TopK
from tests.registry.router.common import EXPERTS, SITE, built, dense, flow_of, ids, model_of, tokens


def gates(h_NE: Tensor, k: int) -> Tensor:
    """Softmax(KeepTopK(h, k)), eq. 3 and 5."""
    out = torch.zeros_like(h_NE)
    for n, row in enumerate(h_NE.detach()):
        kept = sorted(range(len(row)), key=lambda i: -float(row[i]))[:k]
        out[n, kept] = row[kept].softmax(0)
    return out


def kth_excluding(row: Tensor, k: int, i: int) -> float:
    """The k-th highest component of v, excluding component i (below eq. 8)."""
    return sorted((float(each) for j, each in enumerate(row.detach()) if j != i), reverse=True)[k - 1]


def test_in_evaluation_it_is_a_softmax_over_the_best() -> None:
    made, x = built(NoisyTopK(k=3)), tokens()
    routing = made(x, flow_of(x))
    clean = x.flatten(0, 1).double() @ made.logits.weight.double().T
    torch.testing.assert_close(dense(routing), gates(clean, 3), rtol=1e-4, atol=1e-5)
    assert not routing.more
    plain = TopK(k=3, over="chosen").build(SITE).eval()
    plain.logits.weight = made.logits.weight
    torch.testing.assert_close(dense(plain(x, flow_of(x))), dense(routing))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_in_training_noise_of_a_learned_size_is_added_and_told(k: int) -> None:
    made, x = built(NoisyTopK(k=k)).train(), tokens()
    x_ND = x.flatten(0, 1).double()
    torch.manual_seed(7)
    routing = made(x, flow_of(x))
    torch.manual_seed(7)
    drawn = torch.randn(len(x_ND), EXPERTS).double()
    clean = x_ND @ made.logits.weight.double().T
    std = torch.log1p((x_ND @ made.noise.weight.double().T).exp())
    h = clean + drawn * std
    torch.testing.assert_close(dense(routing), gates(h, k), rtol=1e-4, atol=1e-5)
    chance = [
        [
            0.5 * (1 + math.erf((clean[n, i] - kth_excluding(h[n], k, i)) / std[n, i] / math.sqrt(2)))
            for i in range(EXPERTS)
        ]
        for n in range(len(h))
    ]
    torch.testing.assert_close(routing.more["load"].double(), torch.tensor(chance).double(), rtol=1e-3, atol=1e-4)


def test_the_smooth_load_is_how_often_an_expert_is_chosen_when_its_noise_is_drawn_again() -> None:
    made, x = built(NoisyTopK(k=2)).train(), tokens(1, 1)
    routing = made(x, flow_of(x))
    clean, std = made.logits(x)[0, 0], torch.nn.functional.softplus(made.noise(x)[0, 0])
    for i in range(EXPERTS):
        drawn = clean[i] + std[i] * torch.randn(20_000)
        others = torch.cat([routing.logits_NE[0, :i], routing.logits_NE[0, i + 1 :]])
        chosen = (drawn > others.topk(2).values[-1]).float().mean()
        # Five standard deviations of such a mean are below 0.018.
        assert abs(chosen - routing.more["load"][0, i]) < 0.02


@pytest.mark.parametrize("padded", [False, True])
def test_the_losses_are_squared_coefficients_of_variation(padded: bool) -> None:
    made, x = built(NoisyTopK(k=2)).train(), tokens()
    keep = torch.ones(x.shape[:2], dtype=torch.bool)
    keep[1, 5:] = not padded
    flow = flow_of(x, keep)
    routing = made(x, flow).kept(flow.keep_BT)
    kept = keep.flatten()
    sums = {
        "importance": dense(routing)[kept].sum(0),
        "load": routing.more["load"][kept].double().sum(0),
    }
    for said in (Importance(weight=0.3), Load(weight=0.7)):
        total = sums[said.spec_name]
        mean = total.sum() / EXPERTS
        expected = said.weight * ((total - mean) ** 2).sum() / EXPERTS / mean**2
        terms = said.build(SITE)(routing, flow)
        assert list(terms) == [f"{said.spec_name}_loss"]
        torch.testing.assert_close(terms[f"{said.spec_name}_loss"].double(), expected, rtol=1e-4, atol=1e-6)


def test_the_losses_even_out_a_router_that_prefers() -> None:
    made, x = built(NoisyTopK(k=2)).train(), tokens(8, 32)
    balances = [Importance(weight=1.0).build(SITE), Load(weight=1.0).build(SITE)]
    # A direction that all tokens share, so that experts are preferred by all.
    x = x + 2
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)

    def step() -> tuple[float, Tensor]:
        routing = made(x, flow_of(x))
        loss = sum(sum(balance(routing, flow_of(x)).values()) for balance in balances)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item(), routing.load()

    (before, uneven), *_, (after, even) = [step() for _ in range(150)]
    assert after < 0.1 * before
    assert even.max() / even.mean() < 1.3 < uneven.max() / uneven.mean()


def test_both_matrices_start_as_said() -> None:
    zero = model_weights("noisy_top_k")
    assert all(not weight.any() for weight in zero)
    drawn = model_weights("{type: noisy_top_k, initial: init}")
    assert all(0.01 < weight.std() < 0.03 for weight in drawn)


def model_weights(router: str) -> list[Tensor]:
    spec = (
        "model: {type: decoder, d_model: 32, layers: 1, vocab_size: 61, max_length: 32, block: {attention: {heads: 4}"
    )
    spec += f", feed_forward: {{type: experts, experts: 8, router: {router}}}}}}}"
    router_module = bp.build(bp.loads(spec)).layers[0].feed_forward.router
    return [router_module.logits.weight, router_module.noise.weight]


def test_the_losses_are_trained_with_and_the_load_alone_needs_training() -> None:
    model = model_of("noisy_top_k", balance="[importance, load]").train()
    terms = model(ids()).terms
    assert {"importance_loss", "load_loss"} <= set(terms)
    (terms["importance_loss"] + terms["load_loss"]).backward()
    for layer in model.layers:
        assert layer.feed_forward.router.logits.weight.grad.any()
        assert layer.feed_forward.router.noise.weight.grad.any()
    assert "importance_loss" in model.eval()(ids()).terms
    assert "load_loss" not in model(ids()).terms


@pytest.mark.parametrize(("k", "experts", "fix"), [(4, 4, "choose k from 2 to 3"), (2, 2, "say `router: soft`")])
def test_choosing_all_is_refused(k: int, experts: int, fix: str) -> None:
    at = Site(d_model=8, width=8, extra={"experts": experts})
    fault = NoisyTopK(k=k).check(at)
    assert fault is not None
    assert fix in fault.fix


def test_one_alone_is_refused() -> None:
    with pytest.raises(bp.SpecError, match="at least 2"):
        model_of("{type: noisy_top_k, k: 1}")


def test_the_load_of_a_router_without_noise_is_refused() -> None:
    with pytest.raises(bp.SpecError, match="noisy_top_k"):
        model_of("top_k", balance="load")
