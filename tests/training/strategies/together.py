"""Several processes, begun as torchrun begins them, that do one task after another: beginning is what takes long."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
#: What to do, with what: see `DO`.
Task = tuple[str, list[str]]


def together(processes: int, tasks: Sequence[Task], folder: Path, *, timeout: float = 400) -> None:
    """Let so many processes do the tasks. Fails, with all they said, where one failed."""
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
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with open(folder / f"rank{rank}.txt", "w", encoding="utf-8") as said:
            started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT))
    try:
        last = time.monotonic() + timeout
        for process in started:
            process.wait(last - time.monotonic())
    finally:
        for process in started:
            process.kill()
            process.wait()
    words = [(folder / f"rank{rank}.txt").read_text() for rank in range(processes)]
    assert all(process.returncode == 0 for process in started), "\n".join(words)


def until(run: Path, copy: Path, step: int) -> None:
    """A copy of a run as it was when it had saved `step`."""
    shutil.copytree(run, copy)
    for path in (copy / "checkpoints").glob("step=*"):
        if int(path.name[5:11]) > step:
            path.unlink()


def train(spec: str, run: str, *overrides: str) -> None:
    """Train a spec."""
    from blueprint.load import load
    from blueprint.training.run import fit

    fit(load(Path(spec), overrides=overrides), Path(run), progress=False)


def again(run: str, copy: str, step: str, *overrides: str) -> None:
    """Go on, in a copy, from where a run was at a step; first of all save what was read, once more."""
    import lightning.pytorch as pl

    from blueprint.training.run import resume

    class Resave(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.save_checkpoint(Path(copy) / "read.ckpt")

    if os.environ["RANK"] == "0":
        until(Path(run), Path(copy), int(step))
        (Path(copy) / "ready").touch()
    while not (Path(copy) / "ready").exists():
        time.sleep(0.05)
    resume(copy, overrides, progress=False, callbacks=[Resave()])


DO: dict[str, Callable[..., Any]] = {"train": train, "again": again}

if __name__ == "__main__":
    for what, said in json.loads(Path(sys.argv[1]).read_text()):
        DO[what](*said)
