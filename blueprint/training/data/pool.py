"""A function over many inputs on all cores: results in order, no more inputs held than the cores work on."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from blueprint.training.data.error import DataError

R = TypeVar("R")

#: Seconds of work before processes are worth their start, and what an input has to take for its way to one.
_START, _WAY = 0.1, 0.01
#: Says to the tokenizers library whether it may use threads, which a forked process must not.
_THREADS = "TOKENIZERS_PARALLELISM"


def in_order(
    function: Callable[..., R],
    inputs: Iterator[tuple[Any, ...]],
    *,
    cores: int | None = None,
) -> Iterator[R]:
    """What a function gives for each input, in order; computed here where it is little work, or none that is worth
    sending away. Inputs and results travel between processes, the function need not.

    Raises `DataError` where a process is ended from outside.
    """
    cores = available() if cores is None else cores
    alone = cores < 2 or "fork" not in multiprocessing.get_all_start_methods()
    taken = 0.0
    for number, arguments in enumerate(inputs, 1):
        began = time.perf_counter()
        result = function(*arguments)
        taken += time.perf_counter() - began
        yield result
        if not alone and taken >= max(_START, number * _WAY):
            break
    first = next(inputs, None)
    if first is None:
        return
    # Forked, for a child that starts anew would run a script that lacks `if __name__ == "__main__"` once more.
    fork = multiprocessing.get_context("fork")
    waiting: deque[Future[R]] = deque()
    with _unthreaded(), ProcessPoolExecutor(cores, fork, _begin, (function,)) as pool:
        try:
            for arguments in itertools.chain([first], inputs):
                waiting.append(pool.submit(_work, *arguments))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that prepared the data was ended from outside, for lack of memory perhaps; "
                "what is done is kept: the same command goes on from there"
            ) from error
        finally:
            for each in waiting:
                each.cancel()


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _unthreaded() -> Iterator[None]:
    """Without a library's threads, which it would warn of in every process that is forked."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "false"
    try:
        yield
    finally:
        del os.environ[_THREADS]
        if before is not None:
            os.environ[_THREADS] = before


#: What this process works on, in a process of the pool.
_function: Callable[..., Any] | None = None


def _begin(function: Callable[..., Any]) -> None:
    """Make a process of the pool: deaf to Ctrl-C, which its parent hears, and gone once that is gone."""
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(parent: int) -> None:
    # A process that waits for work would wait for ever: its own end of the queue keeps that open.
    wait([parent])
    os._exit(1)


def _work(*arguments: Any) -> Any:
    assert _function is not None
    return _function(*arguments)
