"""Linear maps and tables that say what they are for, so that initialisation can tell them apart.

N rows, D width in, E width out, P a piece of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Role = Literal["linear", "residual", "head"]

_FILLED_LATER: ContextVar[bool] = ContextVar("filled_later", default=False)


@contextmanager
def filled_later() -> Iterator[None]:
    """Linear maps and tables made in here hold whatever their memory held: who makes them gives all of them values."""
    before = _FILLED_LATER.set(True)
    try:
        yield
    finally:
        _FILLED_LATER.reset(before)


#: So many rows, as sequences that are decoded together have, a CPU multiplies slowly with a matrix of so many numbers:
#: four take it twice the time of three. `PIECE` rows of the matrix at a time take 0.5 to 0.95 of that, and from `MORE`
#: rows on the matrix standing first takes 0.75 to 0.95.
FEW, MORE, MANY, LARGE, PIECE = 4, 16, 33, 1 << 19, 256


def linear(x_ND: Tensor, weight_ED: Tensor, bias_E: Tensor | None = None) -> Tensor:
    """(…, D) to (…, E): x Wᵀ + b. A few rows without gradients go the way that is quicker on a CPU."""
    rows = x_ND.numel() // x_ND.shape[-1]
    if (
        not FEW <= rows < MANY  # no range: to a compiler it may be a number without a value
        or torch.is_grad_enabled()
        or weight_ED.numel() < LARGE
        or type(weight_ED) not in (Tensor, nn.Parameter)
        or not (weight_ED.is_cpu and weight_ED.dtype == x_ND.dtype == torch.float32)
        or torch.is_autocast_enabled("cpu")
    ):
        return F.linear(x_ND, weight_ED, bias_E)
    if rows < MORE:
        y_NE = torch.cat([F.linear(x_ND, piece_PD) for piece_PD in weight_ED.split(PIECE)], -1)
    else:
        y_NE = (weight_ED @ x_ND.reshape(rows, -1).t()).t().contiguous().view(*x_ND.shape[:-1], -1)
    return y_NE if bias_E is None else y_NE.add_(bias_E)


class Linear(nn.Linear):
    """A linear map (…, d_in) → (…, d_out) with a role.

    "residual" writes into the residual stream (depth-scaled initialisations shrink it), "head" makes logits,
    "linear" is any other.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        bias: bool = True,
        *,
        role: Role = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_in, d_out, bias, device=device, dtype=dtype)
        self.role: str = role

    def reset_parameters(self) -> None:
        """Draw initial values, except where they would be drawn twice."""
        if not _FILLED_LATER.get():
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """(…, d_in) to (…, d_out)."""
        return linear(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """A table of `count` vectors, integers (…) → (…, width), with a role."""

    def __init__(
        self,
        count: int,
        width: int,
        *,
        role: str = "embedding",
        padding_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(count, width, padding_idx, device=device, dtype=dtype)
        self.role = role
        #: What its vectors are read in, where the table is kept in a wider format; None: as they are.
        self.reads: torch.dtype | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Vectors (…, width) of the integers (…)."""
        vectors = super().forward(input)
        return vectors if self.reads is None else vectors.to(self.reads)

    def reset_parameters(self) -> None:
        """Draw initial values, except where they would be drawn twice, and on meta, where there are none and the
        attempt imports torch's whole compiler."""
        if self.weight.device.type != "meta" and not _FILLED_LATER.get():
            super().reset_parameters()
