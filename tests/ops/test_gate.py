"""What a gate lets through, and its gradients, are those of the plain product, which keeps more for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Component, Site
from blueprint.ops import gate
from blueprint.registry import member
from tests.shipped import shipped

ACTIVATIONS = [(name, member("activation", name)) for name in shipped("activation")]


def sides() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator)
    return first.requires_grad_(), second.requires_grad_()


@pytest.mark.parametrize(("name", "kind"), ACTIVATIONS, ids=lambda each: each if isinstance(each, str) else "")
def test_values_and_gradients_are_the_plain_products(name: str, kind: type[Component]) -> None:
    activation = kind(**kind.examples()[0]).build(Site(d_model=5, width=5)).double()
    g_N, u_N = sides()
    ours, plain = gate(activation, g_N, u_N), activation(g_N) * u_N
    assert torch.equal(ours, plain)
    wanted = [g_N, u_N, *activation.parameters()]
    for a, b in zip(*(torch.autograd.grad(y.sin().sum(), wanted) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("only", [0, 1])
def test_one_side_alone_may_learn(only: int) -> None:
    g_N, u_N = (x if index == only else x.detach() for index, x in enumerate(sides()))
    wanted = (g_N, u_N)[only]
    ours, plain = gate(nn.SiLU(), g_N, u_N), nn.functional.silu(g_N) * u_N
    torch.testing.assert_close(*(torch.autograd.grad(y.sin().sum(), wanted)[0] for y in (ours, plain)))


def test_second_derivatives_are_right() -> None:
    assert torch.autograd.gradgradcheck(lambda g, u: gate(nn.SiLU(), g, u), sides())


def test_the_activation_is_not_kept() -> None:
    def kept(run: Callable[[Tensor, Tensor], Tensor]) -> int:
        found: list[int] = []

        def keep(x: Tensor) -> Tensor:
            found.append(x.data_ptr())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            run(*sides())
        return len(set(found))

    assert kept(lambda g, u: nn.functional.silu(g) * u) == 3
    assert kept(lambda g, u: gate(nn.SiLU(), g, u)) == 2
