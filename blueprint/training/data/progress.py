"""A progress bar over bytes of text, shown on a terminal only unless told otherwise."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Report = AbstractContextManager[Callable[[int], None]]

_STEP = 1 << 18


@contextlib.contextmanager
def reporter(show: bool | None) -> Iterator[Callable[[str, int | None], Report]]:
    """Give `report(title, total)`, which opens a bar and gives `advance(bytes)`; silent where `show` is False."""
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:

        @contextlib.contextmanager
        def report(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
            task, waiting = bars.add_task(title, total=total), 0

            def advance(size: int) -> None:
                # Documents may be tiny and many; the bar is told of them by the quarter megabyte.
                nonlocal waiting
                waiting += size
                if waiting >= _STEP:
                    bars.advance(task, waiting)
                    waiting = 0

            yield advance
            bars.advance(task, waiting)

        yield report


@contextlib.contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _size: None
