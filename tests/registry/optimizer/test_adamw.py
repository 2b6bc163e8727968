"""AdamW: what decays, and that it is the algorithm of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from blueprint.component import Site
from blueprint.model.weights import weights_of
from blueprint.ops import Weight
from blueprint_registry.optimizer.adamw import Adamw

SITE = Site(d_model=8, width=8)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "linear": nn.Linear(4, 4), "norm": nn.LayerNorm(4)})
    named = {id(p): name for name, p in model.named_parameters()}
    made = Adamw(weight_decay=0.3).build(SITE)(weights_of(model))
    decays = {named[id(p)]: group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert decays == {"table.weight": 0.3, "linear.weight": 0.3, "linear.bias": 0, "norm.weight": 0, "norm.bias": 0}


def test_frozen_parameters_are_left_out() -> None:
    linear = nn.Linear(4, 4)
    linear.bias.requires_grad_(False)
    made = Adamw().build(SITE)(weights_of(linear))
    assert [len(group["params"]) for group in made.param_groups] == [1]


def test_three_steps_follow_algorithm_2() -> None:
    lr, (b1, b2), eps, decay = 0.1, (0.8, 0.9), 1e-6, 0.5
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    made = Adamw(lr=lr, betas=[b1, b2], eps=eps, weight_decay=decay).build(SITE)([Weight("w", weight)])
    w, m, v = 2.0, 0.0, 0.0
    for t, g in enumerate((1.0, -3.0, 0.5), start=1):
        weight.grad = torch.full_like(weight, g)
        made.step()
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr * decay * w - lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        assert weight.item() == pytest.approx(w, rel=1e-9)


@pytest.mark.parametrize("said", [{"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"lr": 0.0}, {"weight_decay": -0.1}])
def test_values_without_sense_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Adamw.model_validate(said)
