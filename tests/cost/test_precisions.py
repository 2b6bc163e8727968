"""Memory by precision is what the cost under each says, and orders itself as the formats do."""

from __future__ import annotations

from typing import Any

import pytest

import blueprint as bp
from blueprint.cost.precisions import PRECISIONS, Under, precisions, table
from blueprint.schema.precision import ROLES
from blueprint.schema.trainer import Trainer

from .conftest import spec

LENGTH, BATCH = 64, 2


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, bool], Under]:
    return {(each.names[-1], bool(each.kept)): each for each in precisions(spec(layers=2), LENGTH, BATCH)}


def test_every_precision_of_the_language_has_its_row() -> None:
    language = set(Trainer.model_fields["precision"].annotation.__args__)  # type: ignore[union-attr]
    assert {name for names in PRECISIONS for name in names} == language


@pytest.mark.parametrize("names", PRECISIONS, ids=str)
@pytest.mark.parametrize("kept", [True, False])
def test_a_row_is_the_cost_under_each_of_its_precisions(
    names: tuple[str, ...], kept: bool, found: dict[tuple[str, bool], Under]
) -> None:
    wide = names[0] in ("32-true", "64-true")
    if wide and kept:
        assert (names[-1], True) not in found
        return
    for name in names:
        plain: dict[str, Any] = spec(layers=2).to_plain()
        plain["trainer"] |= {"precision": name, "accelerator": "cuda"}
        plain["precision"] = None if wide or kept else {"float32": []}
        assert bp.cost(bp.load(plain), LENGTH, BATCH).memory == found[name if wide else names[-1], kept].memory


def test_the_widths_of_numbers_show(found: dict[tuple[str, bool], Under]) -> None:
    held = {key: each.memory for key, each in found.items()}
    single, double, low = held["32-true", False], held["64-true", False], held["bf16-true", False]
    assert (double.weights, double.gradients) == (2 * single.weights, 2 * single.gradients)
    assert (2 * low.weights, 2 * low.gradients) == (single.weights, single.gradients)
    mixed = held["bf16-mixed", False]
    assert (mixed.weights, mixed.gradients, mixed.optimizer) == (single.weights, single.gradients, single.optimizer)
    for name in ("weights", "gradients", "optimizer", "activations"):
        low_, kept_, single_ = (getattr(each, name) for each in (low, held["bf16-true", True], single))
        assert low_ < kept_ <= single_, name


def test_the_table_says_what_is_kept(found: dict[tuple[str, bool], Under]) -> None:
    said = table(found.values(), LENGTH, BATCH)
    assert said.count(", ".join(sorted(ROLES))) == 2
    assert "batch 2 x 64 tokens" in said
    assert all(name in said for names in PRECISIONS for name in names)
    assert "unknown" not in said
    assert "unknown" in table(precisions(spec(layers=1), None), None, 1)
