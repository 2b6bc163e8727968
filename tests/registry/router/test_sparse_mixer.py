"""Experts drawn one after another: as the transformers library does for Phi-3.5-MoE."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.phimoe.modeling_phimoe import sparsemixer

import blueprint as bp
from blueprint.ops import Routing

TOKENS, EXPERTS, JITTER = 4000, 5, 0.2


@pytest.fixture
def router() -> Any:
    feed_forward = {
        "type": "experts",
        "experts": EXPERTS,
        "router": {"type": "sparse_mixer", "jitter": JITTER},
        "expert": {"type": "gated", "d_ff": 4},
    }
    block = {"attention": {"heads": 1}, "feed_forward": feed_forward}
    said = {"type": "decoder", "vocab_size": 9, "d_model": 8, "layers": 1, "block": block}
    model = bp.build(bp.load({"model": said}))
    found: Any = model.get_submodule("layers.0.feed_forward.router")
    with torch.no_grad():
        found.logits.weight.copy_(torch.randn(EXPERTS, 8, generator=torch.Generator().manual_seed(1)))
    return found


def routed(router: Any, x_BTD: torch.Tensor, training: bool) -> tuple[Routing, tuple[torch.Tensor, torch.Tensor]]:
    """Ours and theirs, drawing the same numbers."""
    torch.manual_seed(5)
    ours = router.train(training)(x_BTD, None)
    torch.manual_seed(5)
    theirs = sparsemixer(x_BTD.flatten(0, 1) @ router.logits.weight.T, jitter_eps=JITTER, training=training)
    return ours, theirs


def test_it_chooses_and_weighs_as_the_library_does(router: Any) -> None:
    x_BTD = torch.randn(1, TOKENS, 8, generator=torch.Generator().manual_seed(2))
    ours, (weight_NK, expert_NK) = routed(router, x_BTD, training=False)
    assert torch.equal(ours.expert_NK, expert_NK)
    torch.testing.assert_close(ours.weight_NK, weight_NK)


def test_it_draws_as_the_library_does_while_training(router: Any) -> None:
    x_BTD = torch.randn(1, TOKENS, 8, generator=torch.Generator().manual_seed(2))
    ours, (weight_NK, expert_NK) = routed(router, x_BTD, training=True)
    assert torch.equal(ours.expert_NK, expert_NK)
    # Theirs takes another random number for the second weight, and 0.3333 for a third.
    torch.testing.assert_close(ours.weight_NK[:, 0], weight_NK[:, 0], rtol=2e-4, atol=0)
    best_N = ours.logits_NE.argmax(-1) if ours.logits_NE is not None else None
    assert best_N is not None and 0.05 < (ours.expert_NK[:, 0] != best_N).float().mean() < 0.5
    assert (ours.expert_NK[:, 0] != ours.expert_NK[:, 1]).all()
    grads = []
    for weight in (ours.weight_NK[:, 0], weight_NK[:, 0]):
        (grad,) = torch.autograd.grad(weight.square().sum(), router.logits.weight)
        grads.append(grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-3)


def test_more_experts_than_there_are_cannot_be_drawn() -> None:
    feed_forward = {"type": "experts", "experts": 2, "router": {"type": "sparse_mixer", "k": 3}}
    block = {"attention": {"heads": 1}, "feed_forward": feed_forward}
    with pytest.raises(bp.SpecError, match="3 experts cannot be chosen of 2"):
        bp.load({"model": {"type": "decoder", "vocab_size": 9, "d_model": 8, "layers": 1, "block": block}})
