"""A whole batch that several processes share: what is said of it does not hang on their number.

N rows of this process, M those of all, X whatever a row is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

Sum = Callable[[Tensor], Tensor]
"""A tensor summed over the processes that share a batch; its gradient is that of the sum of their losses."""

Rows = Callable[[Tensor], tuple[Tensor, slice]]
"""The rows (M, X) of all processes that share a batch, each having as many, and which of them are this one's; their
gradient is that of the sum of the processes' losses."""

_shared: list[tuple[Sum, Rows]] = []


def everyone(x: Tensor) -> Tensor:
    """`x`, a sum over the tokens here, summed over all processes that share the batch; alone it is `x` itself."""
    return _shared[-1][0](x) if _shared else x


def of_everyone(x_NX: Tensor) -> tuple[Tensor, slice]:
    """`x_NX`, a row for each sample here, with the rows (M, X) of all processes that share the batch, and the place of
    its own among them; alone it is `x_NX` itself."""
    return _shared[-1][1](x_NX) if _shared else (x_NX, slice(0, len(x_NX)))


@contextmanager
def shared_by(sum_of: Sum, rows_of: Rows) -> Iterator[None]:
    """Let `everyone` and `of_everyone` ask so: for a whole run, as what is computed again in a backward pass asks
    again."""
    _shared.append((sum_of, rows_of))
    try:
        yield
    finally:
        _shared.remove((sum_of, rows_of))
