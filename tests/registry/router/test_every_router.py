"""What holds of routers of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.ops import Flow
from blueprint.registry import member
from tests.registry.router.common import ids, model_of
from tests.shipped import shipped

ROUTERS = shipped("router")
CAUSAL = [name for name in ROUTERS if "looks_ahead" not in member("router", name).traits]
KEEP = torch.tensor([[1] * 12, [0] * 5 + [1] * 7, [0] * 2 + [1] * 10, [1] * 12])


@pytest.mark.parametrize("router", CAUSAL)
def test_a_sequence_goes_on_as_it_would_alone(router: str) -> None:
    model = model_of(router)

    def go_on(rows: slice) -> torch.Tensor:
        return bp.generate(model, ids()[rows], 8, temperature=0, attention_mask=KEEP[rows])[:, 12:]

    together = go_on(slice(None))
    for row in range(len(together)):
        assert torch.equal(go_on(slice(row, row + 1))[0], together[row])


@pytest.mark.parametrize("router", ROUTERS)
def test_a_sequence_is_read_as_it_would_be_alone(router: str) -> None:
    model = model_of(router, kind="encoder")
    together = model(ids(), KEEP).logits
    for row, keep in enumerate(KEEP.bool()):
        alone = model(ids()[[row]][:, keep]).logits[0]
        torch.testing.assert_close(together[row, keep], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("router", CAUSAL)
def test_the_future_changes_nothing_before_it(router: str, training: bool) -> None:
    model, some = model_of(router).train(training), ids()
    other = some.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 61

    def said(of: torch.Tensor) -> Any:
        torch.manual_seed(0)
        return model(of).logits

    torch.testing.assert_close(said(some)[:, :7], said(other)[:, :7])
    assert not torch.equal(said(some)[:, 7:], said(other)[:, 7:])


@pytest.mark.parametrize("router", ROUTERS)
def test_a_model_in_float64_is_routed_and_learns_in_float64(router: str) -> None:
    balance = {"hash": "null", "soft": "[importance, z]"}.get(router, "z")
    model = model_of(router, kind="encoder", balance=balance).double()
    layer = model.layers[0].feed_forward
    x_BTD = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    flow = Flow.of(1, 3, input_ids=ids()[:1, :3])

    def run(x_BTD: torch.Tensor) -> torch.Tensor:
        y_BTD, terms = layer(x_BTD, flow)
        return y_BTD.sum() + sum(terms.values())  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(run, x_BTD, eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("router", ROUTERS)
def test_what_experts_hold_counts_as_active_as_far_as_a_token_meets_it(router: str) -> None:
    model = model_of(router, kind="encoder", experts=8)
    shares = {module.active_share for module in model.layers[0].feed_forward.experts.modules()}
    assert shares == {{"soft": 1.0, "hash": 1 / 8}.get(router, 2 / 8)}
