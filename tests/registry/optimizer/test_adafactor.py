"""Adafactor: the paper's algorithms, torch's own beside them, stacks copy by copy, and rows without a gradient."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.ops import Weight
from blueprint_registry.optimizer.adafactor import Adafactor

SITE = Site(d_model=8, width=8)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def plain(w: Tensor, gradients: list[Tensor], said: Adafactor, decay: float) -> Tensor:
    """Algorithms 4, 5 and 6, with the sums of the paper."""
    rows, columns, whole = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    for t, g in enumerate(gradients, start=1):
        b2, square = 1 - t**-said.decay, g * g + said.eps
        if w.ndim == 2:
            rows = b2 * rows + (1 - b2) * square.sum(1)
            columns = b2 * columns + (1 - b2) * square.sum(0)
            v = torch.outer(rows, columns) / rows.sum()
        else:
            v = whole = b2 * whole + (1 - b2) * square
        u = g / v.sqrt()
        u = u / max(1.0, rms(u) / said.clip)
        alpha = max(said.smallest, rms(w)) * min(said.lr, t**-0.5)
        w = w - said.lr * decay * w - alpha * u
    return w


@pytest.mark.parametrize("lr", [1e-2, 0.8])
def test_steps_follow_the_paper(lr: float, weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    said = Adafactor(lr=lr, decay=0.7, clip=0.5, smallest=0.9, eps=0.01, weight_decay=0.1)
    made = said.build(SITE)(weights)
    before = [each.parameter.detach().clone() for each in weights]
    told = [next(gradients) for _ in range(4)]
    for step in told:
        for each, gradient in zip(weights, step, strict=True):
            each.parameter.grad = gradient.clone()
        made.step()
    for index, each in enumerate(weights):
        history = [step[index] for step in told]
        decay = 0.1 if each.decays else 0.0
        wanted = (
            torch.stack([plain(before[index][c], [g[c] for g in history], said, decay) for c in range(3)])
            if each.stacked
            else plain(before[index], history, said, decay)
        )
        torch.testing.assert_close(each.parameter.detach(), wanted)


def test_it_agrees_with_torch_where_that_adds_nothing(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    chosen = [each for each in weights if not each.stacked]
    theirs = [nn.Parameter(each.parameter.detach().clone()) for each in chosen]
    made = Adafactor().build(SITE)(chosen)
    reference = torch.optim.Adafactor(theirs, lr=1e-2, weight_decay=0.0)
    for _ in range(4):
        drawn = next(gradients)
        for each, gradient in zip(chosen, [drawn[0], drawn[1], drawn[3], drawn[4]], strict=True):
            each.parameter.grad = gradient.clone()
        for one, each in zip(theirs, chosen, strict=True):
            one.grad = each.parameter.grad
        made.step()
        reference.step()
    for one, each in zip(theirs, chosen, strict=True):
        torch.testing.assert_close(each.parameter, one)


def test_rows_that_nothing_was_learned_of_stay_finite() -> None:
    table = nn.Parameter(torch.ones(4, 3))
    table.grad = torch.tensor([[1.0, 2.0, 3.0]]).repeat(4, 1)
    table.grad[1] = 0
    made = Adafactor().build(SITE)([Weight("table", table, "embedding")])
    for _ in range(3):
        made.step()
    assert table.isfinite().all()
    assert torch.equal(table[1], torch.ones(3))


def test_its_state_is_float32_and_comes_back_as_it_was() -> None:
    weight = nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))
    weight.grad = torch.linspace(0.1, 1.0, 12).reshape(4, 3).to(torch.bfloat16)
    made = Adafactor().build(SITE)([Weight("w", weight, "linear")])
    made.step()
    made.step()
    again = Adafactor().build(SITE)([Weight("w", weight, "linear")])
    again.load_state_dict(made.state_dict())
    assert {value.dtype for value in made.state[weight].values() if isinstance(value, Tensor)} == {torch.float32}
    for name, value in made.state[weight].items():
        assert (torch.equal if isinstance(value, Tensor) else int.__eq__)(again.state[weight][name], value)
