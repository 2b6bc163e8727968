"""Maps and tables carry the role that initialisation reads."""

from __future__ import annotations

import torch

from blueprint.ops import Embedding, Linear


def test_roles_are_kept_and_nothing_else_changes():
    layer = Linear(4, 6, role="residual", dtype=torch.float64)
    assert layer.role == "residual"
    assert Linear(4, 6).role == "linear"
    assert set(layer.state_dict()) == {"weight", "bias"}
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ layer.weight.t() + layer.bias)
    table = Embedding(5, 4, device="meta")
    assert (table.role, table.weight.shape, table.weight.is_meta) == ("embedding", (5, 4), True)
