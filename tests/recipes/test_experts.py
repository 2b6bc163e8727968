"""The recipe with experts: even with a balance, uneven without, and better than a dense model that costs a token as
much."""

from __future__ import annotations

import pytest

import blueprint as bp
from tests.recipes.compare_experts import HEAD, RECIPES, below_dense, line, train


def test_a_token_passes_through_as_many_parameters_as_in_the_dense_twin() -> None:
    experts, dense = (bp.cost(bp.load(RECIPES / name)) for name in ("experts.yaml", "experts_dense.yaml"))
    assert experts.active_parameters == pytest.approx(dense.active_parameters, rel=0.01)
    assert experts.parameters > 2 * dense.parameters


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_balance_keeps_experts_in_use_and_they_beat_the_dense_twin(capsys: pytest.CaptureFixture[str]) -> None:
    found = [train(variant, 1) for variant in ("experts", "unbalanced", "dense")]
    with capsys.disabled():
        print("", HEAD, *map(line, found), sep="\n")
    experts, unbalanced, _ = found
    assert experts.busiest() < 1.5
    assert unbalanced.busiest() > 1.5 * experts.busiest()
    assert below_dense(found, "experts")[0] > 0
