"""SIGINT and SIGTERM ask a run to stop; it does so at the end of the step it is in."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):
    """Raised out of training once everything is saved after a request to stop."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"stopped at step {step}")


class StopSignals:
    """Notes the first SIGINT or SIGTERM; the second one ends the process at once, as it would have without us.

    As a context it listens from before a run folder is taken until all that belongs there is written.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.install()
        return self

    def install(self) -> None:
        """Take over the signals; again from Lightning, which would stop in the middle of an accumulation."""
        if threading.current_thread() is threading.main_thread():
            for each in self.SIGNALS:
                self._before.setdefault(each, signal.getsignal(each))
                signal.signal(each, self._note)

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            if signal.getsignal(each) == self._note:
                signal.signal(each, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.requested = True
        print(
            f"\n{signal.Signals(number).name}: saving at the end of this step; once more leaves at once",
            file=sys.stderr,
            flush=True,
        )
