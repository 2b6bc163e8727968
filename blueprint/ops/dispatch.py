"""Dispatch: every token to its experts and back, whatever router chose them.

N tokens, K choices of each, P choices in all that came to something, E experts, R rows at work, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blueprint.ops.flow import readable
from blueprint.ops.grouped import Groups
from blueprint.ops.routing import Routing
from blueprint.ops.rows import Rows

Run = Callable[[Tensor, Tensor, Groups], Tensor]
"""`(x_RD, token_R, groups) -> y_RD`: rows in groups, one an expert, through the experts; `token_R` says whose they
are."""


def dispatch(x_ND: Tensor, routing: Routing, run: Run, *, weigh_input: bool = False) -> Tensor:
    """(N, D): the sum of what a token's experts make of it, each times its weight (Shazeer et al., 2017, eq. 1).

    The choices are sorted by expert, run as groups of rows, and summed in the order of the choices. A choice that came
    to nothing adds nothing. With `weigh_input` weights multiply what experts are given (Llama 4, 2025). The same
    device gives the same bits every time.
    """
    choices = routing.expert_NK.shape[1]
    expert_P = routing.expert_NK.flatten()
    weight_P = routing.weight_NK.flatten()
    index = torch.arange(expert_P.numel(), device=x_ND.device)
    start_N = index[::choices].contiguous()
    # Where that means waiting for nobody, choices that came to nothing are left out at once; elsewhere they are rows at
    # the end that nobody's result depends on.
    cut = not routing.whole and expert_P.device.type == "cpu" and readable(expert_P)
    token_P = index // choices
    if cut:
        kept_P = (expert_P < routing.experts).nonzero().flatten()
        start_N = torch.searchsorted(kept_P, start_N)
        expert_P, weight_P, token_P = expert_P[kept_P], weight_P[kept_P], token_P[kept_P]
        index = index[: len(kept_P)]
    sorted_R, place_R = expert_P.sort(stable=True)
    numbers_E = torch.arange(routing.experts, device=x_ND.device)
    ends_E = torch.searchsorted(sorted_R, numbers_E, right=True, out_int32=True)
    row_P = torch.empty_like(place_R).scatter_(0, place_R, index)
    if not cut and routing.most is not None:
        # What came to nothing stands last: rows past the most there can be are nobody's.
        place_R = place_R[: routing.most]
        kept_P, row_P = place_R.sort()
        start_N, index = torch.searchsorted(kept_P, start_N), index[: routing.most]
    rows = Rows(token_P[place_R], row_P, start_N)
    at_work_R1 = None if cut or routing.whole else (index < ends_E[-1:])[:, None]
    x_RD = rows.spread(x_ND)
    if weigh_input:
        x_RD = x_RD * weight_P[place_R, None].to(x_RD.dtype)
    if at_work_R1 is not None:
        x_RD = torch.where(at_work_R1, x_RD, 0.0)
    y_RD = run(x_RD, rows.token_R, Groups(ends_E))
    if at_work_R1 is not None:
        y_RD = torch.where(at_work_R1, y_RD, 0.0)
    if len(weight_P) > len(row_P):
        weight_P = weight_P[kept_P]
    return rows.collect(y_RD, None if weigh_input else weight_P.to(y_RD.dtype)).to(x_ND.dtype)
