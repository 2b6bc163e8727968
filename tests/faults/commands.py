"""Commands of Blueprint in processes of their own, made by a fork of one that has imported torch: each begins at once.

`python -m tests.faults.commands` is that process; it reads what to start, and whose end is wanted, a line of JSON each.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a command is taken to wait for ever.
PATIENCE = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or less than 0 the signal, and what it said."""

    code: int
    said: str


class Command:
    """A command that runs."""

    def __init__(self, server: Server, pid: int, said: Path) -> None:
        self.server, self.pid, self._said = server, pid, said
        # No other process can take the place of this one before its end was asked for.
        self._handle = os.pidfd_open(pid)

    def over(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, at the latest after so many seconds."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))

    def until(self, true: Callable[[], object]) -> bool:
        """Wait until something is true; False where the command ended before."""
        while not true():
            if self.over(0.0005):
                return False
        return True

    def kill(self) -> None:
        """End it as if the power had gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def end(self) -> Ended:
        """Wait for its end."""
        if not self.over(PATIENCE):
            self.kill()
            raise AssertionError(f"it waits for ever: {self._said.read_text()}")
        os.close(self._handle)
        code = self.server.ask({"end": self.pid})
        return Ended(code, self._said.read_text(errors="replace"))


class Server:
    """Starts commands, as a context."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", "tests.faults.commands"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "registry")])
        self._env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._env, **pipes)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def ask(self, what: dict[str, Any]) -> int:
        """A number in answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, *words: str, cache: Path, **more: Any) -> Command:
        """Start `blueprint WORDS` with the cache in a folder; what `more` may say is told by `_changed`."""
        asked = self.asked(*words, cache=cache, **more)
        return Command(self, self.ask(asked), Path(asked["said"]))

    def process(self, *words: str, cache: Path, **more: Any) -> subprocess.Popen[bytes]:
        """The same as a process that begins as any does, with Python."""
        asked = self.asked(*words, cache=cache, **more)
        command = [sys.executable, "-m", "tests.faults.commands", json.dumps(asked)]
        return subprocess.Popen(command, cwd=ROOT, env=self._env)

    def asked(self, *words: str, cache: Path, **more: Any) -> dict[str, Any]:
        """What is to be done, as plain values."""
        self._count += 1
        said = self.folder / f"said{self._count}.txt"
        said.touch()
        return {"words": words, "cache": str(cache), "said": str(said), **more}

    def run(self, *words: str, cache: Path, **more: Any) -> Ended:
        """The same, to its end."""
        return self.start(*words, cache=cache, **more).end()


def serve() -> None:
    """Start what is asked for until nobody can ask any more."""
    # All that a command would import.
    import blueprint.build_folder
    import blueprint.cli.main
    import blueprint.inference.text
    import blueprint.interop.export
    import blueprint.interop.import_
    import blueprint.training.run  # noqa: F401
    from blueprint.training import curve, heat

    # Two thirds of the time would go into pictures.
    vars(curve)["draw"] = vars(heat)["draw"] = _drawn
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "end" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["end"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _be(asked)
        print(answer, file=answers, flush=True)


def _drawn(path: Path, *_: object) -> None:
    from blueprint.files import write_atomic

    write_atomic(path, "a picture")


def _be(asked: dict[str, Any]) -> None:
    """Be a command: never returns."""
    code = 70
    try:
        out = os.open(asked["said"], os.O_WRONLY | os.O_APPEND)
        for handle in (1, 2):
            os.dup2(out, handle)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["BLUEPRINT_CACHE"] = asked["cache"]
        _changed(asked)
        from blueprint.cli.main import run

        code = run(asked["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _changed(asked: dict[str, Any]) -> None:
    """Change what a command does besides: `trace` (a file) notes every batch; `slow` (seconds) is what each part of
    writing a checkpoint takes; `limit` (bytes) is how large files may become; `full` (the end of a name) is a file on
    which nothing more can be written once it is there; `dies` (a number) kills before so many changes of files were
    made, `counts` (a file) tells how many there are."""
    if "trace" in asked:
        _traced(Path(asked["trace"]))
    if "slow" in asked:
        _slow(asked["slow"])
    if "limit" in asked:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if "full" in asked:
        _full(asked["full"])
    if "dies" in asked or "counts" in asked:
        _counted(asked.get("dies"), asked.get("counts"))


def _traced(path: Path) -> None:
    import lightning.pytorch as pl

    from blueprint.training import run
    from blueprint.training.checkpoint import bits
    from blueprint.training.counts import processed

    class Watch(pl.Callback):
        """Notes what was read and what was lost, bit for bit."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            digest = hashlib.sha256()
            for name in sorted(batch):
                digest.update(name.encode() + bits(batch[name]))
            said = [processed(trainer), digest.hexdigest()[:16], float(outputs["objective"]).hex()]
            with open(path, "a") as file:
                file.write(json.dumps(said) + "\n")

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *words, **more: function(*words, **more, callbacks=[Watch()])

    vars(run).update(fit=watched(run.fit), resume=watched(run.resume))


def _slow(seconds: float) -> None:
    import torch

    from blueprint.training import checkpoint

    def halting(function: Callable[..., Any]) -> Callable[..., Any]:
        def halts(*words: Any) -> Any:
            time.sleep(seconds)
            return function(*words)

        return halts

    class Halting:
        """A file that waits in the middle of what torch writes."""

        def __init__(self, file: Any) -> None:
            self.file, self.writes = file, 0

        def write(self, data: Any) -> Any:
            self.writes += 1
            if self.writes == 20:
                self.file.flush()
                time.sleep(seconds)
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    save = torch.save
    vars(torch)["save"] = lambda value, file: save(value, Halting(file))
    vars(checkpoint).update(sha256_file=halting(checkpoint.sha256_file), write_atomic=halting(checkpoint.write_atomic))


def _full(name: str) -> None:
    opened = builtins.open

    def refusing(path: Any, mode: str = "r", *words: Any, **more: Any) -> Any:
        file = opened(path, mode, *words, **more)
        if str(path).endswith(name) and set(mode) & set("wa+x") and os.fstat(file.fileno()).st_size:
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    builtins.open = refusing


def _counted(dies: int | None, path: str | None) -> None:
    """Count what changes files, as Python tells it."""
    changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "shutil.copyfile"}
    told: list[str] = []

    def hook(event: str, words: Any) -> None:
        writes = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in changes) or str(words[0]).startswith(("/dev/", "/proc/")):
            return
        told.append(f"{event} {words[0]}\n")
        if len(told) == dies:
            os.kill(os.getpid(), signal.SIGKILL)

    leave = os._exit

    def leaving(code: int) -> None:
        if path is not None:
            Path(path).write_text("".join(list(told)))
        leave(code)

    vars(os)["_exit"] = leaving
    sys.addaudithook(hook)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server whose commands say what they say in files of a folder."""
    with Server(folder) as made:
        yield made


if __name__ == "__main__":
    _be(json.loads(sys.argv[1])) if len(sys.argv) > 1 else serve()
