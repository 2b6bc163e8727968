"""Routing: which experts every token goes to, and what with.

N tokens (batch × length, in order), K choices of a token, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Routing:
    """`expert_NK` (int64) are the experts of each token, `experts` of them in all, and that very number where a choice
    came to nothing; `weight_NK` is what each of them counts for. Choices stand in order of preference.

    What balances read, as far as a router has it: `logits_NE`; `probability_NE`, rows that sum to 1; `more` by name.
    `score_NE` is what experts were chosen by, for who must choose again. `keep_N` is false at padding (None: there is
    none). `whole` promises that every choice is an expert's, `most` that no more than so many are (None: nothing).
    """

    expert_NK: Tensor
    weight_NK: Tensor
    experts: int
    logits_NE: Tensor | None = None
    probability_NE: Tensor | None = None
    score_NE: Tensor | None = None
    keep_N: Tensor | None = None
    whole: bool = True
    most: int | None = None
    more: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))

    def only(self, keep_NK: Tensor) -> Routing:
        """The routing without the choices at which `keep_NK` (or (N, 1)) is false."""
        return replace(
            self,
            expert_NK=torch.where(keep_NK, self.expert_NK, self.experts),
            weight_NK=torch.where(keep_NK, self.weight_NK, 0.0),
            whole=False,
        )

    def kept(self, keep_BT: Tensor | None) -> Routing:
        """The routing with padding, which goes nowhere; None: there is none."""
        if keep_BT is None:
            return self
        keep_N = keep_BT.flatten()
        return replace(self.only(keep_N[:, None]), keep_N=keep_N)

    def load(self) -> Tensor:
        """How many choices fell on each expert, (E,), float32."""
        return counts(self.expert_NK.flatten(), self.experts)


def wide(x: Tensor) -> Tensor:
    """`x` in float32 where it has fewer bits: which expert is best must not hang on a rounding."""
    return x.float() if x.dtype.itemsize < 4 else x


def counts(expert_P: Tensor, experts: int) -> Tensor:
    """How often each of `experts` numbers stands in `expert_P`, (E,), float32; a number past them counts nowhere.

    By scattering, as `bincount` has no shape on meta.
    """
    # Not torch's default, which bfloat16 may be while a model learns: it cannot count past 256.
    zeros = torch.zeros(experts + 1, device=expert_P.device, dtype=torch.float32)
    return zeros.scatter_add_(0, expert_P, torch.ones_like(expert_P, dtype=zeros.dtype))[:experts]
