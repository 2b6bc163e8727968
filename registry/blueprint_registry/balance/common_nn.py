"""What balances have in common.

N tokens, E experts, K choices, B groups of tokens that are judged together (all, or the sequences), T tokens of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blueprint.ops import Flow, Routing


def shares(routing: Routing, flow: Flow, *, apart: bool) -> tuple[Tensor, Tensor]:
    """The share of choices that fell on each expert, and the mean of its probabilities, (B, E) each: of all tokens, or
    of every sequence `apart`. Padding counts for nothing."""
    assert routing.probability_NE is not None
    rows = flow.position_BT.shape[0] if apart else 1
    p_BTE = routing.probability_NE.unflatten(0, (rows, -1))
    chosen_NE = torch.zeros(len(p_BTE.flatten(0, 1)), routing.experts + 1, device=p_BTE.device)
    chosen_NE = chosen_NE.scatter_add_(1, routing.expert_NK, torch.ones_like(routing.weight_NK, dtype=torch.float32))
    chosen_BE = chosen_NE[:, : routing.experts].unflatten(0, (rows, -1)).sum(1)
    f_BE = chosen_BE / chosen_BE.sum(-1, keepdim=True).clamp_min(1)
    if routing.keep_N is None:
        return f_BE, p_BTE.mean(1)
    keep_BT1 = routing.keep_N.to(p_BTE.dtype).unflatten(0, (rows, -1))[..., None]
    return f_BE, (p_BTE * keep_BT1).sum(1) / keep_BT1.sum(1).clamp_min(1)
