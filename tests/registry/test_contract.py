"""Every registered component keeps the contract."""

from __future__ import annotations

import pytest

from blueprint.registry import kinds, names
from blueprint.testing import contract

COMPONENTS = [(kind, name) for kind in kinds() for name in names(kind)]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=lambda word: word)
def test_a_component_keeps_its_contract(kind: str, name: str) -> None:
    assert contract(kind, name)
