"""Whatever a file holds: a clear paragraph, exit code 1, at once and in little memory, and nothing in it is run.

`python -m tests.faults.test_hostile` prints what each case takes, and says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.faults.hostile import CASES, MARK, Case

#: Seconds of computing, and bytes; where tensors are read, beyond what importing torch takes.
SECONDS, BYTES = 2.0, 300 << 20
RUN = "import sys; from blueprint.cli.main import run; sys.exit(run(sys.argv[1:]))"


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    said: str
    seconds: float
    bytes: int


#: Starts a command and tells how it ended, as a process that is small itself: what a large one holds is counted with
#: those that it starts.
WATCH = """
import json, resource, subprocess, sys
try:
    said = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, timeout=120)
except subprocess.TimeoutExpired:
    sys.exit("it waits for ever")
used = resource.getrusage(resource.RUSAGE_CHILDREN)
told = said.stdout.decode(errors="replace"), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
print(json.dumps([said.returncode, *told]))
"""


def ended(command: list[str], folder: Path) -> Ended:
    """Run a command, and measure what it took: computing alone, as other processes may be busy."""
    watch = [sys.executable, "-c", WATCH, *command]
    found = subprocess.run(watch, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return Ended(*json.loads(found.stdout))


@cache
def imports_alone() -> Ended:
    """What it takes to import torch, and what reads tensors by it."""
    return ended([sys.executable, "-c", "import blueprint.training.restore, blueprint.model.face"], Path.cwd())


def tried(case: Case, folder: Path) -> Ended:
    """Make a case's files and run its command there."""
    case.make(folder)
    return ended([sys.executable, "-c", RUN, *case.command], folder)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    """A paragraph that names what is wrong, at once, in little memory, and nothing is run."""
    case = CASES[name]
    found = tried(case, tmp_path)
    assert found.code == 1, found.said[-2000:]
    assert case.says in found.said
    assert "Traceback" not in found.said
    assert 20 < len(found.said) < 30_000
    assert not (tmp_path / MARK).exists(), "it was run"
    base = imports_alone() if case.tensors else Ended(0, "", 0.0, 0)
    assert found.seconds < SECONDS + base.seconds
    assert found.bytes < BYTES + base.bytes


def test_there_are_many() -> None:
    """At least the forty that were promised."""
    assert len(CASES) >= 40


if __name__ == "__main__":
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = tried(case, Path(folder))
            good = "ok " if found.code == 1 and case.says in found.said else "BAD"
            took = f"{found.seconds:5.2f} s {found.bytes >> 20:4} MB"
            print(good, found.code, took, name, found.said.strip().partition("\n")[0][:110], sep="  ", flush=True)
