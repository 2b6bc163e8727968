"""Dispatch: every token to its experts and back, whatever router chose them.

N tokens, K choices of each, E experts, R rows at work, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blueprint.ops.flow import readable
from blueprint.ops.grouped import Groups
from blueprint.ops.routing import Routing

Run = Callable[[Tensor, Tensor, Groups], Tensor]
"""`(x_RD, token_R, groups) -> y_RD`: rows in groups, one an expert, through the experts; `token_R` says whose they
are."""


def dispatch(x_ND: Tensor, routing: Routing, run: Run, *, weigh_input: bool = False) -> Tensor:
    """(N, D): the sum of what a token's experts make of it, each times its weight (Shazeer et al., 2017, eq. 1).

    The choices are sorted by expert, run as groups of rows, and summed in the order of the choices. A choice that came
    to nothing adds nothing. With `weigh_input` weights multiply what experts are given (Llama 4, 2025).
    """
    tokens, choices = routing.expert_NK.shape
    sorted_P, place_P = routing.expert_NK.flatten().sort(stable=True)
    ends_E = torch.searchsorted(sorted_P, torch.arange(routing.experts, device=x_ND.device), right=True)
    groups = Groups(ends_E, ends_E.tolist() if readable(ends_E) else None)
    whole = routing.whole or groups.ends is None
    # What came to nothing stands last.
    place_R = place_P[: routing.most] if whole else place_P[: groups.ends[-1]]  # type: ignore[index]
    token_R = place_R // choices
    weight_R1 = routing.weight_NK.flatten()[place_R, None]
    x_RD = x_ND[token_R]
    if weigh_input:
        x_RD = x_RD * weight_R1.to(x_RD.dtype)
    y_RD = run(x_RD, token_R, groups)
    if not weigh_input:
        y_RD = y_RD * weight_R1.to(y_RD.dtype)
    return torch.zeros(tokens, y_RD.shape[1], dtype=y_RD.dtype, device=y_RD.device).index_add(0, token_R, y_RD)
