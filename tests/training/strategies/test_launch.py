"""Processes of a run are watched: one that is lost is noticed, named, and ends the others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from blueprint.training.strategies.launch import Watch, ended, loss_of

SLEEP = "import time; time.sleep(60)"

#: A first process that is stuck, as one is that waits for another for ever.
STUCK = f"""
import subprocess, sys, time
from blueprint.training.strategies.launch import Watch
others = [subprocess.Popen([sys.executable, "-c", said]) for said in ({SLEEP!r}, "raise SystemExit(3)")]
print(others[0].pid, flush=True)
Watch(others, grace=0.1).start()
time.sleep(60)
"""

Processes = list[subprocess.Popen[bytes]]


@pytest.fixture
def two() -> Iterator[Processes]:
    found = [subprocess.Popen([sys.executable, "-c", SLEEP]) for _ in range(2)]
    yield found
    ended(found, within=0)


def test_a_lost_process_is_named_with_how_it_ended(two: Processes) -> None:
    watch = Watch(two)
    assert watch.lost is None
    two[1].send_signal(signal.SIGKILL)
    two[1].wait()
    assert watch.lost == "process 2 of the run ended by SIGKILL"


def test_a_process_that_is_done_is_not_lost() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    watch = Watch([done])
    watch.run()
    assert watch.lost is None


def test_a_first_process_that_is_stuck_without_another_is_ended_and_so_are_the_rest() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "process 2 of the run ended with exit code 3, and the first one is stuck" in done.stderr
    (other,) = done.stdout.split()
    assert subprocess.run(["kill", "-0", other], check=False, capture_output=True).returncode != 0


def test_only_what_goes_wrong_between_processes_is_a_loss(two: Processes) -> None:
    broken = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    assert loss_of(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None) is None
    assert loss_of(ValueError("Connection"), None) is None
    assert loss_of(broken, None) == "a process of the run is gone, or out of reach"

    class Launched:
        watch = Watch(two)

    began = time.monotonic()
    two[0].kill()
    assert loss_of(broken, Launched()) == "process 1 of the run ended by SIGKILL"
    assert time.monotonic() - began < 2
