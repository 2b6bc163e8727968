"""Maps and tables carry the role that initialisation reads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blueprint.ops import Embedding, Linear
from blueprint.ops.linear import FEW, LARGE, linear


def test_roles_are_kept_and_nothing_else_changes():
    layer = Linear(4, 6, role="residual", dtype=torch.float64)
    assert layer.role == "residual"
    assert Linear(4, 6).role == "linear"
    assert set(layer.state_dict()) == {"weight", "bias"}
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ layer.weight.t() + layer.bias)
    table = Embedding(5, 4, device="meta")
    assert (table.role, table.weight.shape, table.weight.is_meta) == ("embedding", (5, 4), True)


@pytest.mark.parametrize("shape", [(1, 8), (2, 3), (2, 16), (32,), (4, 33), (15,), (1, 3)])
@pytest.mark.parametrize("biased", [False, True])
def test_few_rows_are_multiplied_alike_whichever_way_they_go(shape, biased):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, 512), torch.randn(LARGE // 512 + 5, 512)
    bias = torch.randn(len(weight)) if biased else None
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    with torch.no_grad():
        found = linear(x, weight, bias)
        strided = linear(x.transpose(0, 1), weight, bias) if x.ndim > 2 else None
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)
    if strided is not None:
        torch.testing.assert_close(strided, found.transpose(0, 1), rtol=0, atol=1e-4)


def test_a_few_rows_learn_as_many_do():
    """The gradient is that of the plain product: the other ways are for decoding alone."""
    layer, x = Linear(1024, LARGE // 1024), torch.randn(FEW, 1024)
    layer(x).square().sum().backward()
    (wanted,) = torch.autograd.grad(F.linear(x, layer.weight, layer.bias).square().sum(), layer.weight)
    assert torch.equal(layer.weight.grad, wanted)
