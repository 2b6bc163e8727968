"""Who prepares data may be killed at any moment: the next goes on from there, and makes what it would have made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blueprint.training.data.journal import Journal, opened
from blueprint_registry.stage import exact_duplicates

SCRIPT = Path(__file__).with_name("broken_off.py")
ROOTS = [str(SCRIPT.parents[3]), str(Path(exact_duplicates.__file__).parents[2])]


def begin(what: str, cache: Path, log: Path) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)}
    command = [sys.executable, str(SCRIPT), what, str(cache), str(log)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(what: str, cache: Path, log: Path) -> None:
    _, err = begin(what, cache, log).communicate(timeout=60)
    assert err == ""


def worked(log: Path) -> list[tuple[int, str]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(process), document) for process, document in map(str.split, lines)]


def until(true: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.002)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def made(cache: Path) -> dict[str, bytes]:
    found = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(cache)): path.read_bytes() for path in found}


@pytest.mark.parametrize("what", ["tokens", "each", "sketch"])
def test_who_is_killed_twice_goes_on_and_makes_the_same(what: str, tmp_path: Path) -> None:
    finish(what, tmp_path / "undisturbed", tmp_path / "all")
    every = [document for _, document in worked(tmp_path / "all")]
    assert len(every) == len(set(every)) == 120
    cache, logs = tmp_path / "cache", [tmp_path / f"log{number}" for number in range(3)]
    for log, least in zip(logs[:2], (60, 30), strict=True):
        process = begin(what, cache, log)
        until(lambda log=log, least=least: len(worked(log)) >= least)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert process.stderr is not None
        process.stderr.close()
        helpers = {each for each, _ in worked(log)} - {process.pid}
        assert helpers
        until(lambda helpers=helpers: not any(map(alive, helpers)))
    finish(what, cache, logs[2])
    assert made(cache) == made(tmp_path / "undisturbed")
    first, second, third = ({document for _, document in worked(log)} for log in logs)
    assert first | second | third == set(every)
    # Of what was worked on, all but what had not been written yet is spared.
    assert len(first & (second | third)) <= 40 > len(second & third)
    assert len(third) < 100


@pytest.mark.parametrize("said", [{}, {"content": "another"}, {"splits": {}}, {"read": 7}, {"read": "?"}])
def test_what_was_kept_is_gone_on_with_unless_it_is_of_another_time(
    said: dict[str, Any], make: Any, invent: Any, byte_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "EVERY", 0.0)
    monkeypatch.setattr("blueprint.training.data.build._BATCH", 100)
    documents = invent(60)
    expected = made(make(documents, cache=tmp_path / "undisturbed").folder)
    encoded: list[str] = []

    class Watched(byte_tokenizer):  # type: ignore[misc]
        def encode(self, text: str) -> Any:
            encoded.append(text)
            if len(encoded) == 40:
                raise KeyboardInterrupt
            return super().encode(text)

    with pytest.raises(KeyboardInterrupt):
        make(documents, Watched())
    (aside,) = (tmp_path / "cache" / "tokens").glob("*.part")
    journal = Journal(aside / "journal.json")
    journal.write((journal.read() or {}) | said, [])
    assert made(make(documents, Watched()).folder) == expected
    assert (len(encoded) >= 100) == bool(said)


def test_a_file_is_gone_on_with_where_it_is_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"whole, half")
    with opened(path, 5) as file:
        file.write(b" again")
    assert path.read_bytes() == b"whole again"
    with pytest.raises(OSError, match="fewer than 12 bytes"):
        opened(path, 12)


def test_a_journal_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.read() is None
    journal.path.write_text("[1, 2")
    assert journal.read() is None
    journal.path.write_text("[1, 2]")
    assert journal.read() is None
    journal.write({"size": 3}, [])
    assert journal.read() == {"size": 3}
    assert not journal.due
