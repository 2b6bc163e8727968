"""A router, what stands around it, and its paper's equations in float64. N tokens, E experts, K choices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import blueprint as bp
from blueprint.component import Site
from blueprint.kinds import Router
from blueprint.ops import Flow, Routing

WIDTH, EXPERTS = 16, 5
SITE = Site(d_model=WIDTH, width=WIDTH, vocab_size=50, causal=False, extra={"experts": EXPERTS, "groups": None})


def built(said: Router, at: Site = SITE) -> Any:
    """The module with random parameters, evaluating."""
    made = said.filled(at).build(at).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def tokens(batch: int = 3, length: int = 8) -> Tensor:
    """Random vectors (B, T, D)."""
    return torch.randn(batch, length, WIDTH)


def flow_of(x_BTD: Tensor, keep_BT: Tensor | None = None, ids_BT: Tensor | None = None) -> Flow:
    """The flow of these tokens."""
    return Flow.of(*x_BTD.shape[:2], attention_mask=keep_BT, input_ids=ids_BT)


def dense(routing: Routing) -> Tensor:
    """(N, E), float64: what every expert counts for, 0 where it does not serve."""
    full_NE = torch.zeros(len(routing.expert_NK), routing.experts + 1, dtype=torch.float64)
    full_NE = full_NE.scatter_add(1, routing.expert_NK, routing.weight_NK.double())
    assert (routing.weight_NK[routing.expert_NK == routing.experts] == 0).all()
    return full_NE[:, :-1]


def model_of(router: str, *overrides: str, balance: str = "null", experts: int = 4, kind: str = "decoder") -> Any:
    """A small model of two layers of experts behind a router, its parameters random, evaluating."""
    head = ", head: masked_language_model" if kind == "encoder" else ""
    spec = f"""
model:
  type: {kind}
  d_model: 32
  layers: 2
  max_length: 32
  vocab_size: 61{head.replace(", ", chr(10) + "  ")}
  block:
    attention: {{heads: 4}}
    feed_forward: {{type: experts, experts: {experts}, expert: {{d_ff: 16}}, router: {router}, balance: {balance}}}
"""
    model = bp.build(bp.loads(spec, list(overrides))).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    return model


def ids(batch: int = 4, length: int = 12) -> Tensor:
    """Random ids (B, T)."""
    return torch.randint(61, (batch, length), generator=torch.Generator().manual_seed(3))
