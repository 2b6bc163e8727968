"""Several processes, begun as torchrun begins them, that do one task after another: beginning is what takes long."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: What to call, with what: `train` (spec, run) or `resume` (run, overrides).
Task = tuple[str, list[Any]]


def together(processes: int, tasks: Sequence[Task], folder: Path, *, timeout: float = 240) -> list[str]:
    """Let so many processes do the tasks, one after another; what each said at its end. Fails where one failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "tasks.json").write_text(json.dumps(tasks))
    command = [sys.executable, "-m", "tests.training.strategies.together", str(folder / "tasks.json")]
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "here",
        "OMP_NUM_THREADS": "1",
    }
    started = []
    for rank in range(processes):
        said = open(folder / f"rank{rank}.txt", "w+", encoding="utf-8")  # noqa: SIM115
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append((subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT), said))
    told = []
    try:
        for process, _ in started:
            process.wait(timeout)
    finally:
        for process, said in started:
            process.kill()
            process.wait()
            said.seek(0)
            told.append(said.read())
            said.close()
    assert all(process.returncode == 0 for process, _ in started), "\n".join(told)
    return told


def main(tasks: Sequence[Task]) -> None:
    """Do the tasks."""
    from blueprint.load import load
    from blueprint.training.run import fit, resume

    for what, said in tasks:
        if what == "train":
            spec, run, *overrides = said
            fit(load(Path(spec), overrides=overrides), Path(run), progress=False)
        else:
            run, *overrides = said
            resume(run, overrides, progress=False)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
