"""Lion: the algorithm of the paper, and half of Adam's state."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from blueprint.component import Site
from blueprint.ops import Weight
from blueprint_registry.optimizer.lion import Lion

SITE = Site(d_model=8, width=8)


def test_steps_follow_algorithm_2(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    lr, b1, b2, decay = 0.1, 0.8, 0.95, 0.5
    made = Lion(lr=lr, betas=[b1, b2], weight_decay=decay).build(SITE)(weights)
    expected = [each.parameter.detach().clone() for each in weights]
    mean = [torch.zeros_like(w) for w in expected]
    for _ in range(4):
        for index, (each, g) in enumerate(zip(weights, next(gradients), strict=True)):
            each.parameter.grad = g.clone()
            c = b1 * mean[index] + (1 - b1) * g
            own = decay if each.decays else 0
            expected[index] = expected[index] - lr * (torch.sign(c) + own * expected[index])
            mean[index] = b2 * mean[index] + (1 - b2) * g
        made.step()
    for each, wanted in zip(weights, expected, strict=True):
        torch.testing.assert_close(each.parameter.detach(), wanted)


def test_it_keeps_one_number_a_weight(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    made = Lion().build(SITE)(weights)
    for each, gradient in zip(weights, next(gradients), strict=True):
        each.parameter.grad = gradient
    made.step()
    assert all(
        [value.shape for value in made.state[each.parameter].values()] == [each.parameter.shape] for each in weights
    )
