"""Architectures that came later, as somebody brings them: each by a family file written from its config and the names
of its tensors, shipped or handed over with `--family`.

`outside/NAME.json` says which model; `outside/NAME.yaml` is its family, where none that ships is. `family` names
another case whose family it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.checks import Case, Checks, imported
from tests.parity.public import made

OUTSIDE = Path(__file__).with_name("outside")
NAMES = sorted(path.stem for path in OUTSIDE.glob("*.json"))


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param
    entry: dict[str, Any] = {"kind": "causal", **json.loads((OUTSIDE / f"{name}.json").read_text())}
    drawn = torch.Generator().manual_seed(1)
    entry.setdefault("inputs", {"input_ids": torch.randint(3, 100, (2, 24), generator=drawn).tolist()})
    family = OUTSIDE / f"{entry.get('family', name)}.yaml"
    return imported(made(name, entry), tmp_path_factory.mktemp(name), family if family.exists() else None)


class TestOutside(Checks):
    """Everything that holds of families, of these."""
