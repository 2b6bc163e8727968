"""Every registered component keeps the contract."""

from __future__ import annotations

import pytest

from blueprint.registry import kinds, member, names
from blueprint.testing import contract

#: What ships; other tests may have registered components of their own by now.
COMPONENTS = [
    (kind, name) for kind in kinds() for name in names(kind) if member(kind, name).__module__.startswith("blueprint")
]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=lambda word: word)
def test_a_component_keeps_its_contract(kind: str, name: str) -> None:
    assert contract(kind, name)
