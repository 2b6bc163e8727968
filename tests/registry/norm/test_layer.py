"""Layer norm against torch's own and its formula."""

from __future__ import annotations

import pytest
import torch

from blueprint.component import Site
from blueprint_registry.norm.layer import Layer
from blueprint_registry.norm.rms import Rms

SITE = Site(d_model=24, width=24)


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_layer_norm(bias: bool) -> None:
    reference = torch.nn.LayerNorm(24, eps=1e-3, bias=bias)
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter)
    made = Layer(eps=1e-3, bias=bias).build(SITE)
    made.load_state_dict(reference.state_dict())
    x = torch.randn(3, 5, 24)
    assert torch.equal(made(x), reference(x))


def test_without_affine_there_is_nothing_to_learn() -> None:
    made, x = Layer(affine=False).build(SITE), torch.randn(6, 24)
    assert not list(made.parameters())
    torch.testing.assert_close(made(x).mean(-1), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(made(x).var(-1, correction=0), torch.ones(6), atol=1e-4, rtol=0)


def test_without_affine_a_bias_is_no_difference_and_an_offset_a_mistake() -> None:
    assert Layer(affine=False).filled(SITE) == Layer(affine=False, bias=False).filled(SITE)
    for norm in (Layer, Rms):
        with pytest.raises(ValueError, match="`offset` does nothing without `affine`"):
            norm(affine=False, offset=1)


def test_a_shift_or_a_positive_scale_of_the_input_changes_nothing() -> None:
    made, x = Layer(eps=1e-12).build(SITE), torch.randn(6, 24, dtype=torch.float64)
    torch.testing.assert_close(made(3 * x + 5), made(x))


def test_an_offset_of_one_stores_the_same_gain_around_zero() -> None:
    plain, around_zero, x = Layer().build(SITE), Layer(offset=1).build(SITE), torch.randn(2, 24)
    assert torch.equal(plain(x), around_zero(x))
    with torch.no_grad():
        plain.weight.fill_(3.0)
        around_zero.weight.fill_(2.0)
    assert torch.equal(plain(x), around_zero(x))


@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
def test_bfloat16_inputs_are_normed_in_float32(weight_dtype: torch.dtype) -> None:
    made, x = Layer().build(SITE).to(weight_dtype), torch.randn(4, 24).bfloat16()
    assert made(x).dtype == torch.bfloat16
    assert torch.equal(made(x), Layer().build(SITE)(x.float()).bfloat16())
