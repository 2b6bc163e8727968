"""Stacked copies against copies built one by one.

R rows, D width, E copies.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from blueprint.component import Site
from blueprint.ops import Flow, Groups, Linear, run_stacked, stack
from blueprint_registry.feed_forward.gated import Gated
from blueprint_registry.feed_forward.mlp import Mlp

SITE = Site(d_model=8, width=8)
COPIES = 4
ONES = {
    "gated": (Gated(d_ff=12), True),
    "gated with biases": (Gated(d_ff=12, bias=True), True),
    "mlp": (Mlp(d_ff=12), True),
    "mlp, an activation that learns": (Mlp(d_ff=12, activation="xielu"), False),
    "gated, a norm inside": (Gated(d_ff=12, inner_norm="rms"), False),
}
SIZES = {"even": [3, 3, 3, 3], "uneven": [1, 0, 6, 2], "the last alone": [0, 0, 0, 2], "none": [0, 0, 0, 0]}


def build(name: str) -> tuple[nn.Module, nn.Module]:
    """One, and many whose parameters are drawn."""
    said, grouped = ONES[name]
    said = said.filled(SITE)
    many = stack(said.build(SITE), COPIES).double()
    assert isinstance(many.groups, Groups) is grouped
    torch.manual_seed(1)
    for each in many.parameters():
        assert len(each) == COPIES
        nn.init.normal_(each)
    return said.build(SITE).double(), many


def definition(one: nn.Module, parameters: dict[str, Tensor], x_RD: Tensor, sizes: list[int]) -> Tensor:
    parts = x_RD.split(sizes)
    flow = Flow.of(1, 1)
    own = [{name: each[copy] for name, each in parameters.items()} for copy in range(COPIES)]
    return torch.cat([functional_call(one, own[copy], (parts[copy][None], flow))[0][0] for copy in range(COPIES)])


def groups_of(sizes: list[int]) -> Groups:
    return Groups(torch.tensor(sizes).cumsum(0).int())


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", ONES)
def test_each_copy_is_what_it_would_be_alone(name: str, sizes: str) -> None:
    one, many = build(name)
    x_RD = torch.randn(sum(SIZES[sizes]), 8, dtype=torch.float64, requires_grad=True)
    y_RD, terms = run_stacked(many, x_RD, Flow.of(1, 1), groups_of(SIZES[sizes]))
    assert terms == {}
    parameters = dict(many.named_parameters())
    expected_RD = definition(one, parameters, x_RD, SIZES[sizes])
    torch.testing.assert_close(y_RD, expected_RD)
    learns = (x_RD, *parameters.values())
    g_RD = torch.randn_like(y_RD)
    found = torch.autograd.grad(y_RD, learns, g_RD, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(expected_RD, learns, g_RD, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ONES)
def test_rows_of_nobody_are_taken_along(name: str) -> None:
    _, many = build(name)
    x_RD = torch.randn(7, 8, dtype=torch.float64)
    y_RD, _ = run_stacked(many, x_RD, Flow.of(1, 1), groups_of([2, 0, 1, 1]))
    alone_RD, _ = run_stacked(many, x_RD[:4], Flow.of(1, 1), groups_of([2, 0, 1, 1]))
    assert y_RD.shape == x_RD.shape
    torch.testing.assert_close(y_RD[:4], alone_RD)


@pytest.mark.parametrize("name", ONES)
def test_shapes_alone_are_enough(name: str) -> None:
    _, many = build(name)
    many = many.to("meta")
    x_RD = torch.empty(6, 8, dtype=torch.float64, device="meta")
    y_RD, _ = run_stacked(many, x_RD, Flow.of(1, 1), Groups(torch.empty(COPIES, dtype=torch.int32, device="meta")))
    assert y_RD.shape == x_RD.shape


def test_one_row_asks_no_copy_but_its_own() -> None:
    _, many = build("gated, a norm inside")
    with torch.no_grad():
        for each in many.parameters():
            each[:2], each[3:] = torch.nan, torch.nan
    y_RD, _ = run_stacked(many, torch.randn(1, 8, dtype=torch.float64), Flow.of(1, 1), groups_of([0, 0, 1, 0]))
    assert y_RD.isfinite().all()


def test_a_map_that_stands_in_two_places_stays_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.there = Linear(6, 6)
            self.back = self.there

        def forward(self, x: Tensor, flow: Flow) -> tuple[Tensor, dict[str, Tensor]]:
            return self.back(self.there(x)), {}

    many = stack(Twice(), 3)
    assert len(list(many.parameters())) == 2
    assert many.there is many.back
