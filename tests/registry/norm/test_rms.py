"""The root-mean-square norm against torch's own and its formula."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint_registry.norm.rms import Rms

SITE = Site(d_model=24, width=24)


def norm(**said: Any) -> torch.nn.Module:
    made = Rms(**said).build(SITE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    return made


def gradients(y: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    g = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(9))
    return torch.autograd.grad(y, inputs, g)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_it_is_torchs_rms_norm_with_the_same_gradients(dtype: torch.dtype, eps: float) -> None:
    made = norm(eps=eps).to(dtype)
    x = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    y, expected = made(x), F.rms_norm(x, (24,), made.weight, eps)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradients(y, x, made.weight), gradients(expected, x, made.weight), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [1e-6, 0.5])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_without_gradients_it_is_torchs_too(dtype: torch.dtype, eps: float, size: float) -> None:
    made, x = norm(eps=eps).to(dtype), size * torch.randn(3, 5, 24, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(made(x), F.rms_norm(x, (24,), made.weight, eps))


def test_without_gradients_the_result_is_the_same() -> None:
    made, x = norm(), torch.randn(3, 5, 24)
    with torch.no_grad():
        torch.testing.assert_close(made(x), made(x.clone().requires_grad_()))


def test_second_derivatives_are_right() -> None:
    made, x = norm().double(), torch.randn(2, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(made, (x,))


def test_per_sample_gradients_by_vmap_agree_with_a_loop() -> None:
    made, x = norm(), torch.randn(4, 5, 24)

    def loss(weight: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(made, {"weight": weight}, (row,)).square().sum()

    weight = made.weight.detach()
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    torch.testing.assert_close(together, torch.stack([torch.func.grad(loss)(weight, row) for row in x]))


def test_the_output_has_unit_mean_square_before_the_weight() -> None:
    y = norm(affine=False)(7 * torch.randn(10, 24))
    torch.testing.assert_close(y.square().mean(-1), torch.ones(10))


def test_an_offset_of_one_stores_the_same_gain_around_zero() -> None:
    plain, around_zero, x = norm(), norm(offset=1), torch.randn(2, 24)
    with torch.no_grad():
        around_zero.weight.copy_(plain.weight - 1)
    torch.testing.assert_close(around_zero(x), plain(x))


@pytest.mark.parametrize("offset", [0, 1])
def test_it_begins_with_a_gain_of_one(offset: int) -> None:
    x = torch.randn(2, 24)
    torch.testing.assert_close(Rms(offset=offset).build(SITE)(x), F.rms_norm(x, (24,), eps=1e-6))


def test_a_row_of_zeros_stays_zero_and_has_a_finite_gradient() -> None:
    made, x = norm(), torch.zeros(2, 24, requires_grad=True)
    y = made(x)
    assert torch.equal(y, torch.zeros_like(y))
    assert all(g.isfinite().all() for g in gradients(y, x, made.weight))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
def test_sixteen_bit_inputs_are_normed_in_float32(dtype: torch.dtype, weight_dtype: torch.dtype) -> None:
    made = norm().to(weight_dtype)
    x = (300 * torch.randn(4, 24)).to(dtype)  # its squares overflow float16
    y = made(x)
    assert y.dtype == dtype
    assert torch.equal(y, F.rms_norm(x.float(), (24,), made.weight.float(), 1e-6).to(dtype))


def test_autocast_does_not_round_the_gradients() -> None:
    made, x = norm(), torch.randn(64, 24, requires_grad=True)
    expected = gradients(made(x), x, made.weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(made(x), x, made.weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_it_survives_copies_and_the_meta_device() -> None:
    made, x = norm(), torch.randn(2, 24)
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    with torch.device("meta"):
        assert Rms().build(SITE)(torch.empty(2, 24)).shape == (2, 24)
