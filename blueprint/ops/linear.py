"""Linear maps and tables that say what they are for, so that initialisation can tell them apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
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
