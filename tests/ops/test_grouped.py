"""Grouped products against products one by one.

R rows, E experts, I inputs, O outputs.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from blueprint.ops import GroupedLinear, Groups
from blueprint.ops.grouped import grouped_linear, kernel

SIZES = {
    "even": [4, 4, 4],
    "uneven": [1, 7, 3, 2],
    "empty ones": [0, 5, 0, 0, 3, 0],
    "one": [6],
    "no rows": [0, 0, 0],
}


def ends_of(sizes: list[int]) -> Tensor:
    return torch.tensor(sizes).cumsum(0).int()


def definition(x_RI: Tensor, weight_EOI: Tensor, sizes: list[int]) -> Tensor:
    bounds = [0, *ends_of(sizes).tolist()]
    return torch.cat([x_RI[a:b] @ weight_EOI[e].T for e, (a, b) in enumerate(pairwise(bounds))])


def sample(
    sizes: list[int], dtype: torch.dtype = torch.float64, i: int = 5, o: int = 3, more: int = 0
) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(sum(sizes) + i)
    x_RI = torch.randn(sum(sizes) + more, i, generator=made, dtype=torch.float64).to(dtype).requires_grad_()
    return x_RI, torch.randn(len(sizes), o, i, generator=made, dtype=torch.float64).to(dtype).requires_grad_()


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_each_group_meets_its_own_matrix(name: str, dtype: torch.dtype) -> None:
    sizes = SIZES[name]
    x_RI, weight_EOI = sample(sizes, dtype)
    y_RO = grouped_linear(x_RI, weight_EOI, Groups(ends_of(sizes)))
    expected_RO = definition(x_RI.double(), weight_EOI.double(), sizes)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2}[dtype]
    torch.testing.assert_close(y_RO.double(), expected_RO, atol=tolerance, rtol=tolerance)
    g_RO = torch.randn_like(expected_RO)
    found = torch.autograd.grad(y_RO, (x_RI, weight_EOI), g_RO.to(dtype))
    expected = torch.autograd.grad(expected_RO, (x_RI, weight_EOI), g_RO)
    torch.testing.assert_close(found, expected, atol=tolerance * 10, rtol=tolerance)


def test_gradients_have_gradients() -> None:
    sizes = [2, 0, 3]
    groups = Groups(ends_of(sizes))
    inputs = sample(sizes, i=3, o=2)
    assert torch.autograd.gradcheck(lambda x, w: grouped_linear(x, w, groups), inputs)
    assert torch.autograd.gradgradcheck(lambda x, w: grouped_linear(x, w, groups), inputs)


def test_an_expanded_gradient_is_taken_by_every_path() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x_RI, weight_EOI = sample([3, 5], dtype, 8, 16)
        grouped_linear(x_RI, weight_EOI, Groups(ends_of([3, 5]))).sum().backward()
        expected_EOI = torch.stack([x_RI[:3].sum(0), x_RI[3:].sum(0)])[:, None].expand(2, 16, 8)
        torch.testing.assert_close(weight_EOI.grad, expected_EOI, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("name", SIZES)
def test_bfloat16_is_as_near_as_its_rounding(name: str) -> None:
    sizes = SIZES[name]
    x_RI, weight_EOI = sample(sizes, torch.bfloat16, 16, 24)
    assert kernel(torch.bfloat16, "cpu", (16, 24))
    y_RO = grouped_linear(x_RI, weight_EOI, Groups(ends_of(sizes)))
    expected_RO = definition(x_RI.float(), weight_EOI.float(), sizes)
    torch.testing.assert_close(y_RO.float(), expected_RO, atol=3e-2, rtol=1e-2)
    g_RO = torch.randn_like(expected_RO).bfloat16()
    found = torch.autograd.grad(y_RO, (x_RI, weight_EOI), g_RO)
    expected = torch.autograd.grad(expected_RO, (x_RI, weight_EOI), g_RO.float())
    torch.testing.assert_close(found, expected, atol=3e-2, rtol=1e-2)


def test_rows_of_nobody_reach_no_gradient() -> None:
    sizes = [2, 3]
    x_RI, weight_EOI = sample(sizes, more=4)
    y_RO = grouped_linear(x_RI, weight_EOI, Groups(ends_of(sizes)))
    y_RO[:5].sum().backward()
    alone = sample(sizes)
    x = x_RI.detach()[:5]
    definition(x, alone[1].data.copy_(weight_EOI).requires_grad_(), sizes)
    expected_EOI = torch.stack([x[:2].sum(0), x[2:].sum(0)])[:, None].expand(2, 3, 5)
    torch.testing.assert_close(weight_EOI.grad, expected_EOI)


@pytest.mark.parametrize(
    ("dtype", "device", "widths", "address", "traced", "takes"),
    [
        (torch.bfloat16, "cpu", (8, 16), 0, False, True),
        (torch.bfloat16, "cuda", (8, 16), 0, False, True),
        (torch.bfloat16, "cuda", (8, 16), 0, True, True),
        (torch.float32, "cuda", (4, 8), 0, False, True),
        (torch.float16, "cuda", (8, 8), 0, False, True),
        (torch.float32, "cuda", (4, 8), 0, True, False),
        (torch.bfloat16, "cpu", (8, 16), 0, True, False),
        (torch.bfloat16, "meta", (8, 16), 0, True, False),
        (torch.bfloat16, "cpu", (12, 16), 0, False, False),
        (torch.bfloat16, "cpu", (16, 12), 0, False, False),
        (torch.bfloat16, "cpu", (8, 16), 8, False, False),
        (torch.float32, "cuda", (6, 8), 0, False, False),
        (torch.float32, "cpu", (8, 8), 0, False, False),
        (torch.float64, "cuda", (8, 8), 0, False, False),
        (torch.float64, "cpu", (8, 8), 0, False, False),
        (torch.bfloat16, "mps", (8, 8), 0, False, False),
    ],
)
def test_the_kernel_is_chosen_by_what_it_can(
    dtype: torch.dtype, device: str, widths: tuple[int, int], address: int, traced: bool, takes: bool
) -> None:
    assert kernel(dtype, device, widths, address, traced) is takes


def test_what_the_kernel_refuses_is_computed_all_the_same() -> None:
    # Odd widths, and a first row that lies askew in memory.
    for cut, i, o in ((0, 5, 3), (1, 8, 8)):
        memory = torch.randn(6 * i + cut).bfloat16()
        x_RI, weight_EOI = memory[cut:].view(6, i), torch.randn(2, o, i).bfloat16()
        y_RO = grouped_linear(x_RI, weight_EOI, Groups(ends_of([2, 4])))
        expected_RO = definition(x_RI.float(), weight_EOI.float(), [2, 4])
        torch.testing.assert_close(y_RO.float(), expected_RO, atol=5e-2, rtol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("where", ["meta", "fake"])
def test_shapes_alone_are_enough_and_are_counted(where: str, dtype: torch.dtype) -> None:
    rows, i, o, experts = 24, 16, 8, 4
    with FakeTensorMode() if where == "fake" else torch.device("meta"):
        x_RI = torch.empty(rows, i, dtype=dtype, requires_grad=True)
        weight_EOI = torch.empty(experts, o, i, dtype=dtype, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            y_RO = grouped_linear(x_RI, weight_EOI, Groups(torch.empty(experts, dtype=torch.int32)))
            forward = counter.get_total_flops()
            y_RO.sum().backward()
    assert y_RO.shape == (rows, o)
    assert x_RI.grad is not None and weight_EOI.grad is not None
    assert (x_RI.grad.shape, weight_EOI.grad.shape) == (x_RI.shape, weight_EOI.shape)
    assert forward == 2 * rows * i * o
    assert counter.get_total_flops() == 3 * forward


def test_values_count_the_same_work_as_shapes() -> None:
    x_RI, weight_EOI = sample([3, 0, 5], torch.float32, 16, 8)
    with FlopCounterMode(display=False) as counter:
        grouped_linear(x_RI, weight_EOI, Groups(ends_of([3, 0, 5]))).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 8 * 16 * 8


def test_the_operations_are_what_they_say_to_a_compiler() -> None:
    x_RI, weight_EOI = sample([2, 0, 3], torch.float32)
    ends_E = ends_of([2, 0, 3])
    tests = ("test_schema", "test_faketensor")
    multiply, outer = torch.ops.blueprint.grouped_multiply, torch.ops.blueprint.grouped_outer
    torch.library.opcheck(multiply.default, (x_RI.detach(), weight_EOI.detach().mT, ends_E), test_utils=tests)
    torch.library.opcheck(outer.default, (x_RI.detach(), torch.randn(5, 3), ends_E), test_utils=tests)


def test_under_autocast_it_computes_as_any_linear_map() -> None:
    layer = GroupedLinear(2, 8, 16, True, "linear", Groups(ends_of([3, 5])))
    torch.nn.init.normal_(layer.weight)
    x_RI = torch.randn(8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y_RO = layer(x_RI)
        plain_RO = torch.cat(
            [torch.nn.functional.linear(x_RI[a:b], layer.weight[e]) for e, a, b in ((0, 0, 3), (1, 3, 8))]
        )
    assert y_RO.dtype == plain_RO.dtype == torch.bfloat16
    torch.testing.assert_close(y_RO, plain_RO, atol=5e-2, rtol=2e-2)
    y_RO.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("name", SIZES)
def test_each_group_has_its_own_bias(name: str) -> None:
    sizes = SIZES[name]
    layer = GroupedLinear(len(sizes), 5, 3, True, "linear", Groups(ends_of(sizes))).double()
    assert layer.bias is not None
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x_RI, _ = sample(sizes)
    y_RO = layer(x_RI[None])[0]
    expert_R = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    torch.testing.assert_close(y_RO, definition(x_RI, layer.weight, sizes) + layer.bias[expert_R])
    y_RO.sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.tensor(sizes).double()[:, None].expand(-1, 3))
