"""Sums over a whole batch that several processes share: what is said of a batch does not hang on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

Sum = Callable[[Tensor], Tensor]
"""A tensor summed over the processes that share a batch; its gradient is that of the sum of their losses."""

_sums: list[Sum] = []


def everyone(x: Tensor) -> Tensor:
    """`x`, a sum over the tokens here, summed over all processes that share the batch; alone it is `x` itself."""
    return _sums[-1](x) if _sums else x


@contextmanager
def shared_by(sum_of: Sum) -> Iterator[None]:
    """Let `everyone` sum so: for a whole run, as what is computed again in a backward pass sums again."""
    _sums.append(sum_of)
    try:
        yield
    finally:
        _sums.remove(sum_of)
