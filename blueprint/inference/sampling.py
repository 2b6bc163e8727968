"""How the next token is drawn from a model's logits.

B batch, V vocabulary, K candidates (the vocabulary, or the likeliest of it), N draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to draw: the repetition penalty first, then the temperature, top-k, top-p and min-p, each over what is left.

    `temperature` 0 takes the likeliest token. None leaves a step out. Row r of a batch draws from the stream
    (`seed`, r), whatever stands in the other rows. Raises ValueError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, holds, wanted in _RANGES:
            value = getattr(self, name)
            if value is not None and not (_is_number(value, whole=name in _WHOLE) and holds(value)):
                raise ValueError(f"{name} must be {wanted}, got {value!r}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken each time."""
        return self.temperature == 0

    def idle(self) -> tuple[str, ...]:
        """The settings said that do nothing: all that shape a draw, where the temperature is 0 and nothing is drawn."""
        unsaid = {field.name: field.default for field in fields(self)}
        names = ("top_k", "top_p", "min_p", "seed") if self.greedy else ()
        return tuple(name for name in names if getattr(self, name) != unsaid[name])

    def uniforms(self, batch: int, draws: int) -> Tensor:
        """Random numbers in (0, 1], (N, B): a row's stream depends on the seed and the row alone."""
        streams = [torch.rand(draws, generator=_generator(self.seed, row)) for row in range(batch)]
        return 1.0 - torch.stack(streams, 1)

    def pick(self, logits_BV: Tensor, uniform_B: Tensor | None, seen_BV: Tensor | None = None) -> Tensor:
        """The next ids (B,), from one random number a row.

        `uniform_B` is not read at temperature 0; `seen_BV` marks the tokens a repetition penalty falls on.
        """
        if self.repetition_penalty is not None and seen_BV is not None:
            logits_BV = penalise(logits_BV, seen_BV, self.repetition_penalty)
        if self.greedy:
            return logits_BV.argmax(-1)
        assert uniform_B is not None
        logits_BK, id_BK = self.candidates(logits_BV)
        chosen_B1 = draw(logits_BK, uniform_B)
        return (chosen_B1 if id_BK is None else id_BK.gather(1, chosen_B1)).squeeze(1)

    def candidates(self, logits_BV: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits (B, K) that a token is drawn from, −inf where it may not be, and their ids (None: 0 … V − 1)."""
        logits_BK, id_BK = logits_BV.float() / self.temperature, None
        if self.top_k is not None:
            logits_BK, id_BK = logits_BK.topk(min(self.top_k, logits_BK.shape[-1]), -1)
        elif self.top_p is not None and self.top_p < 1:
            logits_BK, id_BK = logits_BK.sort(-1, descending=True)
        if self.top_p is not None and self.top_p < 1:
            logits_BK = nucleus(logits_BK, self.top_p)
        if self.min_p is not None:
            logits_BK = likely(logits_BK, self.min_p)
        return logits_BK, id_BK


_RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("temperature", lambda t: 0 <= t < math.inf, "a number from 0 (the likeliest token each time) up"),
    ("top_k", lambda k: k >= 1, "a whole number from 1 up"),
    ("top_p", lambda p: 0 < p <= 1, "a probability above 0, up to 1"),
    ("min_p", lambda p: 0 <= p <= 1, "a share of the likeliest token's probability, from 0 to 1"),
    ("repetition_penalty", lambda r: 0 < r < math.inf, "a number above 0 (1 changes nothing)"),
    ("seed", lambda s: s >= 0, "a whole number from 0 up"),
)
_WHOLE = {"top_k", "seed"}


def _is_number(value: object, *, whole: bool) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if whole else int | float)


def _generator(seed: int, row: int) -> torch.Generator:
    # Hashed, so that row 1 under seed 0 is not row 0 under seed 1.
    digest = hashlib.sha256(f"{seed}/{row}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def penalise(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Logits of tokens already seen divided by the penalty, or multiplied where negative (Keskar et al., 2019, §4.1).

    The paper divides; a negative logit divided would grow likelier, so it is multiplied.
    """
    lowered_BV = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, lowered_BV, logits_BV)


def nucleus(logits_BK: Tensor, p: float) -> Tensor:
    """Descending logits, −inf past the smallest set of likeliest tokens that holds p (Holtzman et al., 2020, §3.1)."""
    probability_BK = logits_BK.softmax(-1)
    before_BK = probability_BK.cumsum(-1) - probability_BK
    outside_BK = before_BK >= p
    outside_BK[:, 0] = False  # whatever p is, one token stays
    return logits_BK.masked_fill(outside_BK, -math.inf)


def likely(logits_BK: Tensor, share: float) -> Tensor:
    """Logits, −inf where a token has less than `share` of the likeliest one's probability (Nguyen et al., 2024, §3)."""
    if share == 0:
        return logits_BK
    return logits_BK.masked_fill(logits_BK < logits_BK.amax(-1, keepdim=True) + math.log(share), -math.inf)


def draw(logits_BK: Tensor, uniform_B: Tensor) -> Tensor:
    """Places (B, 1) drawn by inverting the distribution at `uniform_B` in (0, 1]; never one of probability 0."""
    cumulative_BK = logits_BK.softmax(-1).cumsum(-1)
    # A fraction of the sum as it came out: rounding cannot carry the search past the last token that counts.
    target_B1 = uniform_B[:, None].to(cumulative_BK) * cumulative_BK[:, -1:]
    return torch.searchsorted(cumulative_BK, target_B1)
