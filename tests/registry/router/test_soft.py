"""The dense soft mixture against its formula, and stacked as Eigen et al. do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import blueprint as bp
from blueprint_registry.router.soft import Soft
from tests.registry.router.common import EXPERTS, SITE, built, dense, flow_of, tokens


@pytest.mark.parametrize("bias", [False, True])
def test_every_expert_counts_for_its_share(bias: bool) -> None:
    made, x = built(Soft(bias=bias)), tokens()
    routing = made(x, flow_of(x))
    logits = x.flatten(0, 1).double() @ made.logits.weight.double().T
    if bias:
        logits = logits + made.logits.bias.double()
    torch.testing.assert_close(dense(routing), logits.softmax(-1), rtol=1e-4, atol=1e-6)
    assert (routing.expert_NK.sort().values == torch.arange(EXPERTS)).all()
    assert (routing.weight_NK.diff() <= 0).all(), "those that count for most come first"
    assert Soft().choices(SITE) == EXPERTS


STACKED = """
model:
  type: encoder
  d_model: 16
  layers: 2
  max_length: 32
  vocab_size: 61
  final_norm: null
  block:
    attention: null
    feed_forward:
      type: experts
      experts: 3
      router: {type: soft, bias: true}
      expert: {type: mlp, d_ff: 8, activation: relu}
    feed_forward_norm: null
    residual: {type: scaled, stream: 0}
  head: {type: classification, labels: 4, over: mean}
"""


def mixture(layer: torch.nn.Module, z_ND: Tensor) -> Tensor:
    """Σ gᵢ(z) fᵢ(z) (Eigen et al., 2013, §3) in float64, expert after expert."""
    p = {name: value.double() for name, value in layer.feed_forward.named_parameters()}
    g_NE = (z_ND @ p["router.logits.weight"].T + p["router.logits.bias"]).softmax(-1)
    made = [
        torch.relu(z_ND @ up.T) @ down.T
        for up, down in zip(p["experts.up.weight"], p["experts.down.weight"], strict=True)
    ]
    return sum(g_NE[:, [i]] * each for i, each in enumerate(made))


def test_layers_that_pass_on_what_they_make_are_the_stacked_mixture() -> None:
    model = bp.build(bp.loads(STACKED)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    ids = torch.randint(61, (2, 7))
    z = model.embedding.tokens.weight.double()[ids].flatten(0, 1)
    for layer in model.layers:
        z = mixture(layer, z)
    hidden = model(ids).hidden.flatten(0, 1).double()
    torch.testing.assert_close(hidden, z, rtol=1e-4, atol=1e-4 * z.std().item())
