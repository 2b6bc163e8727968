"""What a query may see, said symbolically: bands, documents and predicates, never a matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import lcm
from operator import and_
from typing import Any

Predicate = Callable[[Any, Any], Any]
"""`(q_order, k_order) -> bool`, on integer tensors that broadcast, written with operators only. One that says the same
`period` tokens further on may have an attribute of that name."""

BLOCK = 1024  # rows and columns of the blocks in which predicates are counted


@dataclass(frozen=True)
class Visible:
    """The keys a query may see, as a function of the places of both in their sequence.

    A query at place i sees the key at place j where `i - j <= back`, `j - i <= ahead`, both lie in one document
    (`same_segment`) and every predicate of `tests` holds. With `prefix` the place j must also be no further than the
    query reaches, which the flow says. Padding is not a mask: attention itself leaves it out. Raises ValueError on a
    negative bound.
    """

    back: int | None = None
    ahead: int | None = None
    same_segment: bool = False
    tests: tuple[Predicate, ...] = ()
    prefix: bool = False

    def __post_init__(self) -> None:
        for name, bound in (("back", self.back), ("ahead", self.ahead)):
            if bound is not None and bound < 0:
                raise ValueError(f"{name} must not be negative, got {bound}")

    def __and__(self, other: Visible) -> Visible:
        """The intersection: what both let a query see."""
        extra = tuple(test for test in other.tests if test not in self.tests)
        return Visible(
            _least(self.back, other.back),
            _least(self.ahead, other.ahead),
            self.same_segment or other.same_segment,
            self.tests + extra,
            self.prefix or other.prefix,
        )

    def prefixed(self) -> Visible:
        """The mask where the tokens of a prefix see each other both ways: as far ahead as back."""
        return replace(self, ahead=self.back, prefix=True)

    def within(self, length: int) -> Visible:
        """The same mask without the bounds that no sequence of `length` tokens reaches."""
        back = None if self.back is not None and self.back >= length - 1 else self.back
        ahead = None if self.ahead is not None and self.ahead > 0 and self.ahead >= length - 1 else self.ahead
        return self if back == self.back and ahead == self.ahead else replace(self, back=back, ahead=ahead)

    def pairs(self, length: int, queries: int | None = None) -> int:
        """The exact number of visible (query, key) pairs of one document of `length` tokens without padding.

        `queries` counts only the last so many tokens as queries, as in decoding. Bands are counted in closed form;
        predicates are evaluated block by block inside the band, which imports torch.
        """
        first = 0 if queries is None else length - queries
        if not 0 <= first <= length:
            raise ValueError(f"{queries} queries of {length} tokens")
        if self.tests:
            return _remembered(self, first, length)
        ahead = length if self.ahead is None else min(self.ahead, length)
        back = length if self.back is None else min(self.back, length)
        # The row of query i holds the keys max(0, i - back) ... min(length - 1, i + ahead).
        ends = _clipped_sum(first + ahead, length + ahead, length - 1)
        starts = _ramp(length - back) - _ramp(first - back)
        return ends - starts + (length - first)

    def _counted(self, first: int, length: int) -> int:
        periods = [test.period for test in self.tests if hasattr(test, "period")]
        if self.ahead == 0 and self.back is not None and len(periods) == len(self.tests):
            period = lcm(*periods)
            return self._repeating_pairs(length, period) - self._repeating_pairs(first, period)
        return self._tested_pairs(first, length)

    def _repeating_pairs(self, length: int, period: int) -> int:
        """All pairs of a causal band whose rows, once they are full, are those `period` tokens before."""
        assert self.back is not None
        if length <= self.back + period:
            return self._tested_pairs(0, length)
        times, rest = divmod(length - self.back, period)
        return self._tested_pairs(0, self.back + rest) + times * self._tested_pairs(self.back, self.back + period)

    def _tested_pairs(self, first: int, length: int) -> int:
        import torch

        total = 0
        for top in range(first, length, BLOCK):
            q_order_T = torch.arange(top, min(top + BLOCK, length))
            low = 0 if self.back is None else max(0, top - self.back)
            high = length if self.ahead is None else min(length, top + len(q_order_T) + self.ahead)
            for left in range(low, high, BLOCK):
                k_order_S = torch.arange(left, min(left + BLOCK, high))
                total += int(self.holds(q_order_T[:, None], k_order_S[None, :]).sum())
        return total

    def holds(self, q_order: Any, k_order: Any) -> Any:
        """Whether the key's place may be seen from the query's: a boolean tensor of the broadcast shape."""
        distance = q_order - k_order
        parts = [] if self.back is None else [distance <= self.back]
        parts += [] if self.ahead is None else [distance >= -self.ahead]
        parts += [test(q_order, k_order) for test in self.tests]
        return reduce(and_, parts) if parts else distance == distance

    def describe(self) -> str:
        """The mask in a few words, such as "causal, window 128"."""
        words = ["causal"] if self.ahead == 0 else []
        if self.back is not None and self.ahead == 0:
            words.append(f"window {self.back + 1}")
        elif self.back is not None and self.back == self.ahead:
            words.append(f"window {self.back} each way")
        else:
            words += [f"{self.back} back"] if self.back is not None else []
            words += [f"{self.ahead} ahead"] if self.ahead else []
        words += ["one document"] if self.same_segment else []
        words += ["the prefix both ways"] if self.prefix else []
        named = [test.describe() for test in self.tests if hasattr(test, "describe")]
        other = len(self.tests) - len(named)
        words += [*named, f"{other} test" + "s" * (other > 1)] if other else named
        return ", ".join(words) or "full"


@lru_cache(maxsize=64)
def _remembered(mask: Visible, first: int, length: int) -> int:
    return mask._counted(first, length)


def _least(a: int | None, b: int | None) -> int | None:
    return min((bound for bound in (a, b) if bound is not None), default=None)


def _ramp(n: int) -> int:
    """The sum of max(0, x) over all integers x < n."""
    return n * (n - 1) // 2 if n > 0 else 0


def _clipped_sum(start: int, stop: int, most: int) -> int:
    """The sum of min(x, most) over start <= x < stop, for start >= 0."""
    knee = max(start, min(stop, most))
    return _ramp(knee) - _ramp(start) + most * (stop - knee)
