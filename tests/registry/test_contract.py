"""Every registered component keeps the contract."""

from __future__ import annotations

import pytest

from blueprint.registry import kinds
from blueprint.testing import contract
from tests.shipped import shipped

COMPONENTS = [(kind, name) for kind in kinds() for name in shipped(kind)]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=lambda word: word)
def test_a_component_keeps_its_contract(kind: str, name: str) -> None:
    assert contract(kind, name)
