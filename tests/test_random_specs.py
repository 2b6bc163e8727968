"""Specs by lot: none may be refused without a reason and its place, and none that is accepted may fail later."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from blueprint.testing.drawn import drawn
from tests.random_specs import try_spec
from tests.shipped import shipped

#: How many quick ones there are in a run of all tests, and how many slow ones besides.
QUICK, MANY = 100, 5000


class Shipped:
    """A lot among what ships: other tests have components of their own."""

    def names(self, kind: str) -> Sequence[str]:
        """The members of a kind."""
        return shipped(kind)


class Seeded(Shipped):
    """The lot of a seed: many at once, each to be had again by its number."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def among(self, options: Sequence[Any]) -> Any:
        """One of the options, the first ones a little more often."""
        return options[int(self.random.random() ** 1.3 * len(options))]

    def chance(self, of: float) -> bool:
        """True so often."""
        return self.random.random() < of


def test_specs_by_lot() -> None:
    """Each is refused with reasons and places, or does all that a spec must do."""
    became = Counter(try_spec(drawn(Seeded(seed))) for seed in range(QUICK))
    assert became["held"] > QUICK / 3, became


@pytest.mark.slow
def test_many_specs_by_lot() -> None:
    """The same of very many others."""
    became = Counter(try_spec(drawn(Seeded(QUICK + seed))) for seed in range(MANY))
    assert became["held"] > MANY / 3, became


ATTENTION = {"type": "multi_head", "heads": 4}
#: What the lot once found; each was mended at its root.
FOUND: dict[str, dict[str, Any]] = {
    "scores times 0 are NaN where a kernel hides keys by minus infinity": {
        "block": {"attention": {**ATTENTION, "scale": 0.0, "backend": "sdpa"}},
    },
    "so are scores times less": {"block": {"attention": {**ATTENTION, "scale": -1.0}}},
}


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    """A spec that once failed is refused with a reason, or holds."""
    model = {"type": "decoder", "d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 61, **FOUND[found]}
    try_spec({"model": model})
