"""Dispatch against a loop over tokens and their choices.

N tokens, K choices, E experts, R rows, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import blueprint as bp
from blueprint.cost import Cost
from blueprint.ops import Groups, Routing, dispatch
from blueprint.ops.dispatch import Run
from blueprint.ops.grouped import grouped_linear

N, K, E, D = 13, 3, 5, 8


def experts(weight_EDD: Tensor) -> Run:
    return lambda x_RD, _, groups: grouped_linear(x_RD, weight_EDD, groups).tanh()


def definition(x_ND: Tensor, routing: Routing, weight_EDD: Tensor, weigh_input: bool) -> Tensor:
    lines = []
    for token, (chosen, weights) in enumerate(zip(routing.expert_NK.tolist(), routing.weight_NK, strict=True)):
        line = torch.zeros(x_ND.shape[1], dtype=x_ND.dtype)
        for expert, weight in zip(chosen, weights, strict=True):
            if expert < routing.experts:
                given = x_ND[token] * (weight if weigh_input else 1)
                line = line + torch.tanh(weight_EDD[expert] @ given) * (1 if weigh_input else weight)
        lines.append(line)
    return torch.stack(lines)


def regular() -> Routing:
    expert_NK = torch.rand(N, E).argsort(-1)[:, :K]
    return Routing(expert_NK, torch.rand(N, K, dtype=torch.float64), E)


def padded() -> Routing:
    return regular().kept((torch.arange(N) % 3 != 1)[None])


def dropped() -> Routing:
    return regular().only(torch.rand(N, K) < 0.6)


def expert_choice() -> Routing:
    chosen_NE = torch.rand(N, E) < 0.4
    expert_NE = torch.arange(E).expand(N, E)
    return Routing(expert_NE, torch.rand(N, E, dtype=torch.float64), E).only(chosen_NE)


def soft() -> Routing:
    return Routing(torch.arange(E).expand(N, E), torch.rand(N, E, dtype=torch.float64).softmax(-1), E)


def one_expert() -> Routing:
    return Routing(torch.full((N, 1), 2), torch.rand(N, 1, dtype=torch.float64), E)


def nobody() -> Routing:
    return regular().only(torch.zeros(N, K, dtype=torch.bool))


ROUTINGS = [regular, padded, dropped, expert_choice, soft, one_expert, nobody]


def sample(make: Callable[[], Routing]) -> tuple[Tensor, Routing, Tensor]:
    torch.manual_seed(3)
    routing = make()
    routing.weight_NK.requires_grad_()
    x_ND = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    return x_ND, routing, torch.randn(E, D, D, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("weigh_input", [False, True])
@pytest.mark.parametrize("make", ROUTINGS)
def test_a_token_gets_the_weighted_sum_of_its_experts(make: Callable[[], Routing], weigh_input: bool) -> None:
    x_ND, routing, weight_EDD = inputs = sample(make)
    y_ND = dispatch(x_ND, routing, experts(weight_EDD), weigh_input=weigh_input)
    expected_ND = definition(*inputs, weigh_input)
    torch.testing.assert_close(y_ND, expected_ND)
    if make is nobody:
        assert (y_ND == 0).all()
        return
    g_ND = torch.randn_like(y_ND)
    learns = (x_ND, routing.weight_NK, weight_EDD)
    found = torch.autograd.grad(y_ND, learns, g_ND)
    torch.testing.assert_close(found, torch.autograd.grad(expected_ND, learns, g_ND))


@pytest.mark.parametrize("weigh_input", [False, True])
@pytest.mark.parametrize("make", [regular, dropped])
def test_gradients_have_gradients(make: Callable[[], Routing], weigh_input: bool) -> None:
    x_ND, routing, weight_EDD = sample(make)

    def run(x_ND: Tensor, weight_NK: Tensor) -> Tensor:
        weighted = Routing(routing.expert_NK, weight_NK, E, whole=routing.whole)
        return dispatch(x_ND, weighted, experts(weight_EDD), weigh_input=weigh_input)

    inputs = (x_ND[:, :D], routing.weight_NK.detach().requires_grad_())
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("make", [dropped, nobody])
@pytest.mark.parametrize("weigh_input", [False, True])
def test_rows_that_are_not_cut_change_nothing(
    make: Callable[[], Routing], weigh_input: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x_ND, routing, weight_EDD = sample(make)
    learns = (x_ND, weight_EDD)

    def spoil(x_RD: Tensor, token_R: Tensor, groups: Groups) -> Tensor:
        # As a kernel leaves rows past the last end, in both directions.
        assert groups.ends_E is not None
        nobodys_R1 = (torch.arange(len(x_RD)) >= groups.ends_E[-1])[:, None]
        x_RD.register_hook(lambda g: g.masked_fill(nobodys_R1, torch.nan))
        return experts(weight_EDD)(x_RD, token_R, groups).masked_fill(nobodys_R1, torch.nan)

    cut_ND = dispatch(x_ND, routing, experts(weight_EDD), weigh_input=weigh_input)
    cut = torch.autograd.grad(cut_ND.square().sum(), learns)
    with monkeypatch.context() as patch:
        patch.setattr(import_module("blueprint.ops.dispatch"), "readable", lambda _: False)
        whole_ND = dispatch(x_ND, routing, spoil, weigh_input=weigh_input)
    torch.testing.assert_close(whole_ND, cut_ND)
    torch.testing.assert_close(torch.autograd.grad(whole_ND.square().sum(), learns), cut)


def test_the_kernel_needs_nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x_ND, routing, weight_EDD = sample(regular)
    x_ND, weight_EDD = (each.detach().bfloat16().requires_grad_() for each in (x_ND, weight_EDD))

    def refuse(_: Tensor) -> list[int]:
        raise AssertionError("read")

    monkeypatch.setattr(Tensor, "tolist", refuse)
    monkeypatch.setattr(Tensor, "item", refuse)
    dispatch(x_ND, routing, experts(weight_EDD)).sum().backward()


def test_low_precision_returns_what_it_was_given() -> None:
    x_ND, routing, weight_EDD = sample(regular)
    expected_ND = definition(x_ND, routing, weight_EDD, False)
    low = experts(weight_EDD.bfloat16())
    y_ND = dispatch(x_ND.bfloat16(), routing, low)
    assert y_ND.dtype == torch.bfloat16
    torch.testing.assert_close(y_ND.double(), expected_ND, atol=5e-2, rtol=5e-2)
    with torch.autocast("cpu", torch.bfloat16):
        y_ND = dispatch(x_ND.float(), routing, experts(weight_EDD.float()))
    assert y_ND.dtype == torch.float32
    torch.testing.assert_close(y_ND.double(), expected_ND, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("make", [regular, dropped])
@pytest.mark.parametrize("where", ["meta", "fake"])
def test_shapes_alone_are_enough(where: str, make: Callable[[], Routing]) -> None:
    given = make()
    with FakeTensorMode() if where == "fake" else torch.device("meta"):
        expert_NK = torch.empty(N, K, dtype=torch.int64)
        weight_NK = torch.empty(N, K, requires_grad=True)
        x_ND, weight_EDD = torch.empty(N, D, requires_grad=True), torch.empty(E, D, D, requires_grad=True)
        y_ND = dispatch(x_ND, Routing(expert_NK, weight_NK, E, whole=given.whole), experts(weight_EDD))
        y_ND.sum().backward()
    for each, grad in ((y_ND, x_ND.grad), (weight_EDD, weight_EDD.grad), (weight_NK, weight_NK.grad)):
        assert grad is not None and grad.shape == each.shape


def test_a_tokens_result_is_its_own() -> None:
    x_ND, routing, weight_EDD = sample(regular)
    y_ND = dispatch(x_ND, routing, experts(weight_EDD))
    for token in range(N):
        alone = Routing(routing.expert_NK[token, None], routing.weight_NK[token, None], E)
        torch.testing.assert_close(dispatch(x_ND[token, None], alone, experts(weight_EDD))[0], y_ND[token])


def test_each_choice_costs_its_products() -> None:
    def cost(k: int) -> Cost:
        expert = {"type": "gated", "d_ff": 12}
        said = {"type": "experts", "experts": 6, "expert": expert, "router": {"type": "top_k", "k": k}}
        model = {"type": "decoder", "d_model": 8, "layers": 3, "vocab_size": 16, "max_length": 32}
        block = {"attention": {"heads": 2}, "feed_forward": said}
        return bp.cost(bp.load({"model": {**model, "block": block}}), length=10)

    one, three = cost(1), cost(3)
    assert one.unknown == three.unknown == {}
    assert one.flops_forward and one.flops_training and three.flops_forward and three.flops_training
    more = (3 - 1) * 3 * 10 * 3 * 2 * 8 * 12  # choices, layers, tokens, matrices, operations a weight
    assert three.flops_forward - one.flops_forward == more
    assert three.flops_training - one.flops_training == 3 * more


@pytest.mark.slow
@pytest.mark.parametrize("make", [regular, dropped])
def test_compiled_it_is_the_same(make: Callable[[], Routing]) -> None:
    x_ND, routing, weight_EDD = sample(make)
    learns = tuple(each.detach().float().requires_grad_() for each in (x_ND, routing.weight_NK, weight_EDD))

    def run(x_ND: Tensor, weight_NK: Tensor, weight_EDD: Tensor) -> Tensor:
        return dispatch(x_ND, Routing(routing.expert_NK, weight_NK, E, whole=routing.whole), experts(weight_EDD))

    compiled_ND, eager_ND = torch.compile(run, fullgraph=True)(*learns), run(*learns)
    torch.testing.assert_close(compiled_ND, eager_ND)
    found, expected = (torch.autograd.grad(each.square().sum(), learns) for each in (compiled_ND, eager_ND))
    torch.testing.assert_close(found, expected)
