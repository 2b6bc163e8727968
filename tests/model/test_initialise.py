"""Initial weights follow from the spec and the seed, name by name."""

from __future__ import annotations

import pytest
import torch

import blueprint as bp

SPEC = """
model:
  type: decoder
  d_model: 128
  layers: 3
  max_length: 64
  vocab_size: 500
  block: {attention: {heads: 4, bias: true}}
"""


def weights(*overrides: str) -> dict[str, torch.Tensor]:
    return dict(bp.build(bp.loads(SPEC, list(overrides))).named_parameters())


def test_a_weight_does_not_depend_on_what_else_is_built() -> None:
    three, two = weights(), weights("model.layers=2", "model.head.tie=true")
    assert all(torch.equal(value, three[name]) for name, value in two.items())


def test_the_seed_changes_every_matrix() -> None:
    one, other = weights(), weights("seed=1")
    assert all(not torch.equal(one[name], other[name]) for name in one if one[name].ndim == 2)


def test_no_two_matrices_are_alike() -> None:
    matrices = [value for value in weights().values() if value.ndim == 2 and value.shape[0] == value.shape[1]]
    assert len({float(value.detach()[0, 0]) for value in matrices}) == len(matrices)


@pytest.mark.parametrize(("init", "std", "residual"), [("normal", 0.02, 0.02), ("scaled", 0.02, 0.02 / 6**0.5)])
def test_the_spread_is_the_specs(init: str, std: float, residual: float) -> None:
    found = weights(f"model.init={init}")
    assert found["layers.1.attention.q.weight"].std().item() == pytest.approx(std, rel=0.03)
    assert found["layers.1.attention.o.weight"].std().item() == pytest.approx(residual, rel=0.03)
    assert not found["layers.1.attention.q.bias"].any()


def test_no_weight_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[torch.Size]()

    def counted(tensor: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        drawn.append(tensor.shape)
        return tensor

    for name in ("kaiming_uniform_", "uniform_", "normal_"):
        monkeypatch.setattr(torch.nn.init, name, counted)
    found = weights()
    assert not drawn
    assert all(value.isfinite().all() for value in found.values())
    torch.nn.Linear(4, 4)
    assert drawn
