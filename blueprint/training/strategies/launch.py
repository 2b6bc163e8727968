"""The processes of a run on one machine: how they begin, and what is done when one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

#: Seconds that the first process has to notice by itself that another is gone, before it is ended.
GRACE = 30.0
#: Seconds that the others have to end by themselves once the first one has failed.
END = 5.0


class Launcher(_SubprocessScriptLauncher):
    """Starts a process for every further device by running the same command again, and watches them all.

    Lightning's own kills the first process, which has a run to write down, as soon as another ends.
    """

    watch: Watch | None = None

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Call the function in every process; what fails in this one ends the others."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            self.watch = Watch(self.procs)
            self.watch.start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        try:
            return function(*args, **kwargs)
        except BaseException:
            ended(self.procs, within=END)
            raise


class Watch(threading.Thread):
    """Looks after the further processes: if one is lost and the first is stuck without it, it ends the run."""

    def __init__(self, others: Sequence[subprocess.Popen[bytes]], grace: float = GRACE) -> None:
        super().__init__(daemon=True, name="watch")
        self.others, self.grace = others, grace

    @property
    def lost(self) -> str | None:
        """Which process ended as it should not have, and how; None where none did."""
        for number, process in enumerate(self.others, start=1):
            code = process.poll()
            if code:
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                return f"process {number} of the run ended {how}"
        return None

    def run(self) -> None:
        """Watch until all have ended as they should."""
        while any(process.poll() != 0 for process in self.others):
            found = self.lost
            if found is not None:
                time.sleep(self.grace)
                print(f"error: {found}, and the first one is stuck without it", file=sys.stderr, flush=True)
                ended(self.others, within=0)
                os._exit(1)
            time.sleep(0.2)


def ended(processes: Sequence[subprocess.Popen[bytes]], within: float) -> None:
    """Wait for processes to end, and end those that have not."""
    last = time.monotonic() + within
    for process in processes:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def loss_of(error: BaseException, launcher: Any) -> str | None:
    """Whether an error means that a process of the run was lost, and what is known of that."""
    if not isinstance(error, RuntimeError) or not _of_connections(error):
        return None
    watch: Watch | None = getattr(launcher, "watch", None)
    for _ in range(20):
        # Its connections close before the system tells that it is gone.
        found = None if watch is None else watch.lost
        if found is not None:
            return found
        time.sleep(0.1)
    return "a process of the run is gone, or out of reach"


def _of_connections(error: RuntimeError) -> bool:
    from torch.distributed import DistError

    said = str(error).lower()
    return isinstance(error, DistError) or any(word in said for word in ("gloo", "nccl", "connection", "socket"))
