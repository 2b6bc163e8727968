"""What `import` and `export` share: the family they name, and a bar over the bytes they move."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

FamilyName = Annotated[
    str | None,
    typer.Option("--family", metavar="FAMILY", help="A family by name, or a file of your own; else the config tells."),
]


@contextlib.contextmanager
def moving(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A function to be told of bytes moved, bytes in all and the tensor's name; on a terminal it draws a bar."""
    from blueprint.training.data.progress import reporter

    with reporter(None) as report, contextlib.ExitStack() as bars:
        before, advance = 0, None

        def told(done: int, total: int, _name: str) -> None:
            nonlocal before, advance
            if advance is None:
                advance = bars.enter_context(report(title, total))
            advance(done - before)
            before = done

        yield told
