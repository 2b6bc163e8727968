"""Stochastic gradient descent: the velocity of the paper, and what the decay is of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from blueprint.component import Site
from blueprint.ops import Weight
from blueprint_registry.optimizer.sgd import Sgd

SITE = Site(d_model=8, width=8)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_steps_follow_the_velocity(
    momentum: float, nesterov: bool, weights: list[Weight], gradients: Iterator[list[Tensor]]
) -> None:
    lr, decay = 0.1, 0.02
    made = Sgd(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay).build(SITE)(weights)
    expected = [each.parameter.detach().clone() for each in weights]
    velocity = [torch.zeros_like(w) for w in expected]
    for _ in range(4):
        for index, (each, g) in enumerate(zip(weights, next(gradients), strict=True)):
            each.parameter.grad = g.clone()
            g = g + (decay * expected[index] if each.decays else 0)
            velocity[index] = momentum * velocity[index] + g
            expected[index] = expected[index] - lr * (g + momentum * velocity[index] if nesterov else velocity[index])
        made.step()
    for each, wanted in zip(weights, expected, strict=True):
        torch.testing.assert_close(each.parameter.detach(), wanted)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValidationError, match="does nothing without `momentum`"):
        Sgd(momentum=0.0, nesterov=True)
