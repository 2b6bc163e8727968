"""How much of a run's time its steps waited for their batches."""

from __future__ import annotations

import time
from typing import Any


class Waiting:
    """Shares of the time since `begin` in which the reader of a loader waited for it: none is known of loaders that do
    not count that (`waited`, in seconds).

    It is the time in which nothing else could be done by the process that computes: what a device still does
    meanwhile, and what other processes read ahead, is not waited for.
    """

    def __init__(self) -> None:
        self._loader: Any = None
        self._began = self._last = (0.0, 0.0)

    def begin(self, loader: Any) -> None:
        """Watch a loader from now on."""
        self._loader = loader if hasattr(loader, "waited") else None
        self._began = self._last = self._now()

    def lately(self) -> float | None:
        """The share since it was last asked."""
        last, self._last = self._last, self._now()
        return self._share(last)

    @property
    def share(self) -> float | None:
        """The share of all the time."""
        return self._share(self._began)

    def _now(self) -> tuple[float, float]:
        return (0.0, 0.0) if self._loader is None else (time.perf_counter(), self._loader.waited)

    def _share(self, before: tuple[float, float]) -> float | None:
        now = self._now()
        return (now[1] - before[1]) / (now[0] - before[0]) if now[0] > before[0] else None
