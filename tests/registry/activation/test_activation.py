"""Every activation against its formula, written here once more in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.registry import member, names
from blueprint_registry.activation import Activation

FORMULAS: dict[str, Callable[[float], float]] = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(0.0, x),
    "relu2": lambda x: max(0.0, x) ** 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "identity": lambda x: x,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "swish": lambda x: x / (1 + math.exp(-0.5 * x)),
    "xielu": lambda x: (0.8 * x**2 if x > 0 else 0.8 * (math.exp(min(x, -1e-6)) - 1 - x)) + 0.5 * x,
}


def build(name: str) -> torch.nn.Module:
    cls = member("activation", name)
    made: torch.nn.Module = cls(**cls.examples()[0]).build(Site(d_model=8, width=8))
    return made


def test_every_activation_is_compared_here() -> None:
    assert set(names("activation")) == set(FORMULAS)
    assert all(issubclass(member("activation", name), Activation) for name in FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_its_formula(name: str) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](float(v)) for v in x], dtype=torch.float64)
    torch.testing.assert_close(build(name)(x), expected)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_keeps_shape_and_dtype_and_has_a_gradient(name: str) -> None:
    x = torch.randn(2, 3, 5, requires_grad=True)
    y = build(name)(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert build(name)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(("alpha", "name"), [(1.0, "silu"), (1.702, "quick_gelu")])
def test_swish_holds_its_kin(alpha: float, name: str) -> None:
    x = torch.linspace(-6, 6, 101)
    made = member("activation", "swish")(alpha=alpha).build(Site(d_model=8, width=8))
    torch.testing.assert_close(made(x), build(name)(x))


def test_quick_gelu_saturates_without_overflow() -> None:
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    y = build("quick_gelu")(x)
    y.sum().backward()
    torch.testing.assert_close(y, F.relu(x))
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0]
