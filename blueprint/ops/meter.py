"""Meter: attention reports its own work, which torch's counters cannot see or double."""

from __future__ import annotations

import threading
from types import TracebackType

from blueprint.visible import Visible


class _Stack(threading.local):
    def __init__(self) -> None:
        self.meters: list[Meter] = []


_stack = _Stack()


class Meter:
    """Counts the floating-point operations of every `attend` inside it, forward only: 2·(E + V) a visible pair.

    Pairs come from the symbolic mask, so causal attention counts as what it needs. On the meta device attention then
    computes shapes only, and `FlopCounterMode` counts the rest of the model without counting attention twice:

        with Meter() as meter, FlopCounterMode(display=False) as counter:
            model(ids_on_meta)
        forward = counter.get_total_flops() + meter.flops

    A backward pass costs twice the forward. On other devices the values are computed as ever and reported as well,
    and `FlopCounterMode` may see some of them. Padding and documents are not seen: rows count as one whole document.
    """

    def __init__(self) -> None:
        self.flops = 0
        self.calls = 0

    def __enter__(self) -> Meter:
        _stack.meters.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _stack.meters.remove(self)

    def add(self, flops: int) -> None:
        """Take in the work of one call."""
        self.flops += flops
        self.calls += 1


def metered() -> bool:
    """Whether anyone is counting in this thread."""
    return bool(_stack.meters)


def report(flops: int) -> None:
    """Tell every meter of this thread of work done."""
    for meter in _stack.meters:
        meter.add(flops)


def attention_flops(visible: Visible, batch: int, heads: int, q_len: int, k_len: int, width: int) -> int:
    """Forward operations of an attention whose key and value widths sum to `width`.

    With as many keys as queries or more, the queries are the latest tokens. A mask without any bound counts all pairs.
    """
    pairs = q_len * k_len if visible == Visible() or q_len > k_len else visible.pairs(k_len, q_len)
    return 2 * pairs * heads * batch * width
