"""A norm for every head is as many norms, one beside the other."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.kinds import Norm
from blueprint_registry.attention.each_head_nn import EachHead, each_head

HEADS, WIDTH = 3, 4


class _Nested(nn.Module):
    """A norm nobody foresaw: one inside another, with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LayerNorm(WIDTH)
        self.register_buffer("shift", torch.full((WIDTH,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.shift


def maker(norm: Any) -> Any:
    """What makes the norm of one head."""
    return _Nested if norm == "nested" else partial(Norm.of(norm).build, Site(d_model=12, width=WIDTH))


NORMS = ["rms", "layer", {"type": "rms", "affine": False}, {"type": "layer", "offset": 1}, "nested"]


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("grad", [True, False])
def test_it_is_one_norm_a_head(norm: Any, grad: bool) -> None:
    torch.manual_seed(0)
    together, apart = EachHead(maker(norm), HEADS), [maker(norm)() for _ in range(HEADS)]
    for head, one in enumerate(apart):
        for name, parameter in one.named_parameters():
            nn.init.normal_(parameter)
            getattr(together, name.replace(".", "_")).data[head] = parameter.data
    x = torch.randn(2, 5, HEADS, WIDTH, requires_grad=grad)
    other = x.detach().clone().requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        found = together(x)
        expected = torch.stack([one(other[:, :, head]) for head, one in enumerate(apart)], 2)
    torch.testing.assert_close(found, expected)
    if grad:
        towards = torch.randn_like(found)
        found.backward(towards)
        expected.backward(towards)
        torch.testing.assert_close(x.grad, other.grad)
        for head, one in enumerate(apart):
            for name, parameter in one.named_parameters():
                torch.testing.assert_close(getattr(together, name.replace(".", "_")).grad[head], parameter.grad)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_it_copies_saves_casts_and_starts_anew_as_any_module(norm: Any) -> None:
    module = EachHead(maker(norm), HEADS)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, HEADS, WIDTH)
    twin, fresh = copy.deepcopy(module), EachHead(maker(norm), HEADS)
    torch.testing.assert_close(twin(x), module(x))
    twin.load_state_dict(fresh.state_dict())
    module.reset_parameters()
    torch.testing.assert_close(module(x), fresh(x))
    torch.testing.assert_close(twin(x), fresh(x))
    assert module.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_it_is_made_on_meta_and_then_anywhere(norm: Any) -> None:
    with torch.device("meta"):
        module = EachHead(maker(norm), HEADS)
    assert module(torch.empty(2, 5, HEADS, WIDTH, device="meta")).shape == (2, 5, HEADS, WIDTH)
    module.to_empty(device="cpu").reset_parameters()
    x = torch.randn(2, 5, HEADS, WIDTH)
    torch.testing.assert_close(module(x), EachHead(maker(norm), HEADS)(x))


def test_whoever_builds_is_told_of_the_whole_and_not_of_one_head() -> None:
    told: list[nn.Module] = []

    def built(part: object, at: Site, made: Any) -> Any:
        told.append(made)
        return made

    module = each_head(Norm.of("rms"), Site(d_model=12, width=WIDTH, built=built), HEADS)
    assert told == [module]
    assert isinstance(module, EachHead)
