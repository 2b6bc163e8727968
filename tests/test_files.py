"""A file is whole or absent; a lock keeps two processes apart and dies with its holder."""

import hashlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from blueprint import files

FORK = multiprocessing.get_context("fork")


def test_what_was_written_is_read_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "new" / "a.txt", "Grüße")
    files.write_atomic(tmp_path / "new" / "a.txt", b"second")
    files.write_atomic(tmp_path / "new" / "b.txt", "Grüße")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"second"
    assert (tmp_path / "new" / "b.txt").read_text("utf-8") == "Grüße"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.txt", "b.txt"]


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")

    def fail() -> None:
        with files.atomic_path(target) as temporary:
            assert (temporary.parent, temporary.suffix) == (tmp_path, ".png")
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_killed_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")

    def die() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=die, daemon=True)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_data_are_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(handle: int) -> None:
        events.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")
        fsync(handle)

    def spy_replace(a: Path, b: Path) -> None:
        events.append("rename")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    files.write_atomic(tmp_path / "a.txt", "x")
    assert events == ["file", "rename", "folder"]


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "f").write_bytes(data)
    assert files.sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_a_second_process_is_told_who_holds_the_lock_until_the_holder_dies(tmp_path: Path) -> None:
    path, held = tmp_path / "run" / ".lock", FORK.Event()

    def hold() -> None:
        with files.lock(path):
            held.set()
            signal.pause()

    child = FORK.Process(target=hold, daemon=True)
    child.start()
    assert held.wait(20)
    with (
        pytest.raises(files.Busy, match=rf"runs/x is in use by process {child.pid}\b"),
        files.lock(path, what="runs/x"),
    ):
        pass
    child.kill()
    child.join()
    with files.lock(path):
        pass


def test_a_waiting_locker_goes_on_when_the_holder_lets_go(tmp_path: Path) -> None:
    path, order = tmp_path / ".lock", FORK.SimpleQueue()

    def waiting() -> None:
        order.put("asks")
        with files.lock(path, wait=True):
            order.put("in")

    with files.lock(path):
        child = FORK.Process(target=waiting, daemon=True)
        child.start()
        assert order.get() == "asks"
        child.join(0.2)
        assert child.is_alive()
        assert order.empty()
    child.join(20)
    assert order.get() == "in"


def test_the_forks_of_a_holder_do_not_keep_its_lock(tmp_path: Path) -> None:
    forked = FORK.SimpleQueue()

    def hold() -> None:
        with files.lock(tmp_path / "l"):
            if (worker := os.fork()) == 0:
                signal.pause()
            forked.put(worker)
            signal.pause()

    holder = FORK.Process(target=hold, daemon=True)
    holder.start()
    worker = forked.get()
    try:
        time.sleep(0.05)  # let the fork come up
        with pytest.raises(files.Busy), files.lock(tmp_path / "l"):
            pass
        holder.kill()
        holder.join()
        with files.lock(tmp_path / "l"):
            os.kill(worker, 0)  # raises if the fork were gone, and the test with it
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_lock_is_free_after_its_body_even_if_that_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyError), files.lock(tmp_path / "l"):
        raise KeyError
    with files.lock(tmp_path / "l"):
        pass
