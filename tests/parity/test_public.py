"""Every public family, brought in by its family file alone, is that family."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.parity.checks import BAR, WORST, Case, Checks, imported
from tests.parity.public import entries, public

FAMILIES = list(entries())


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return imported(public(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    """Print how many families were compared, and the largest difference."""
    yield
    far = {name: WORST[name] for name in FAMILIES if name in WORST}
    if far:
        name = max(far, key=far.__getitem__)
        print(
            f"\nfamilies in parity: {sum(each <= BAR for each in far.values())} of {len(entries())} public"
            f"; largest |Δlogit| {far[name]:.1e} σ ({name})"
        )


def test_the_reference_is_the_stored_one(case: Case) -> None:
    with torch.no_grad():
        found = case.theirs.run(case.theirs.model).double().abs().mean().item()
    assert found == pytest.approx(case.theirs.entry["outputs"]["logits"]["abs_mean"], rel=1e-5)


class TestPublic(Checks):
    """Everything that holds of families, of these."""
