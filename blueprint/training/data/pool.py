"""A function over many inputs on all cores: results in order, no more inputs held than the cores work on."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

R = TypeVar("R")

#: Inputs that are worked on here before processes are worth their start.
_ALONE = 8


def in_order(
    function: Callable[..., R], inputs: Iterator[tuple[Any, ...]], *, cores: int | None = None, alone: int = _ALONE
) -> Iterator[R]:
    """What a function that can be pickled gives for each input, in order; of the first few, computed here."""
    cores = available() if cores is None else cores
    for _, arguments in zip(range(alone), inputs, strict=False):
        yield function(*arguments)
    if cores < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from (function(*arguments) for arguments in inputs)
        return
    first = next(inputs, None)
    if first is None:
        return
    # Forked, for a child that starts anew would run a script that lacks `if __name__ == "__main__"` once more.
    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork")) as pool:
        waiting: deque[Future[R]] = deque([pool.submit(function, *first)])
        try:
            for arguments in inputs:
                waiting.append(pool.submit(function, *arguments))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
