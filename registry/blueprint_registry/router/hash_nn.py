"""An expert for every id, looked up.

B batch, T tokens, N = B·T, D model width, K = 1 choice, V ids.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Routing

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.router.hash import Hash


class HashRouter(nn.Module):
    """`(x_BTD, flow) -> Routing`; it has no parameters, and its table follows from what is said."""

    table: Tensor

    def __init__(self, said: Hash, at: Site) -> None:
        super().__init__()
        assert at.vocab_size is not None
        self.experts = int(at.extra["experts"])
        # Python promises the same numbers from the same seed, whatever the version and machine.
        lots = random.Random(f"{said.seed}/{at.side}/{at.layer}")
        order_V = torch.tensor([lots.random() for _ in range(at.vocab_size)], dtype=torch.float64).argsort(stable=True)
        turn_V = torch.arange(at.vocab_size) % self.experts
        self.register_buffer("table", torch.empty_like(order_V).scatter_(0, order_V, turn_V), persistent=False)

    def forward(self, x_BTD: Tensor, flow: Flow) -> Routing:
        """Every token's one expert, with a weight of 1."""
        assert flow.id_BT is not None
        expert_NK = self.table[flow.id_BT.flatten()][:, None]
        return Routing(expert_NK, torch.ones_like(expert_NK, dtype=torch.float32), self.experts)
