"""One folder has one run at a time, and one cache serves all that prepare the same data at once."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from tests.faults.small import Place, beside, differences


def holding(where: Place) -> bool:
    """Whether a run has its folder, and has made its first checkpoint."""
    return any(where.run.glob("checkpoints/step=*.ckpt"))


@pytest.mark.parametrize("first", ["train", "resume"])
def test_a_second_run_on_a_folder_is_refused_and_told_who_is_there(first: str, whole: Place) -> None:
    where = beside(whole, f"two-{first}")
    if first == "resume":
        begun = where.start("train", slow=0.05)
        assert begun.until(lambda: holding(where))
        begun.kill()
        # A lock that was held by who was killed holds nobody up.
        assert begun.end().code == -9
        assert (where.run / ".lock").read_text().startswith(f"{begun.pid} on ")
    running = where.start(first, slow=0.3)
    assert running.until(lambda: (where.run / ".lock").exists() and _holder(where) == running.pid)
    for word in ("train", "resume"):
        if word == "train":
            assert running.until(lambda: (where.run / "spec.yaml").exists())
        trace = where.root / "other"
        ended = where.ended(word, trace=str(trace))
        assert ended.code == 1, ended.said
        held = rf"the run {re.escape(str(where.run))} is in use by process {running.pid} on {os.uname().nodename}"
        assert re.search(rf"{held} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d; wait until it ends, or stop it", ended.said)
        assert not trace.exists()
        # What only reads disturbs nobody, and nobody it.
    assert running.until(lambda: holding(where)) or first == "resume"
    written = where.ended("generate", "--max-new-tokens", "2")
    assert written.code == 0, written.said
    assert running.end().code == 0
    assert differences(whole, where) == []


def _holder(where: Place) -> int | None:
    found = re.match(r"(\d+) on", (where.run / ".lock").read_text())
    return int(found[1]) if found else None


def test_a_lock_that_says_nothing_or_nonsense_is_a_lock(whole: Place) -> None:
    where = beside(whole, "nonsense")
    where.run.mkdir()
    (where.run / ".lock").write_bytes(b"\xff\x00 nonsense of somebody who is gone\n" * 20)
    assert where.ended("train").code == 0
    assert differences(whole, where) == []


def test_runs_that_prepare_the_same_data_at_once_are_both_right(whole: Place) -> None:
    cache = whole.root.parent / "shared"
    places = [beside(whole, f"at-once-{number}") for number in range(3)]
    running = [each.start("train", cache=cache) for each in places]
    for where, command in zip(places, running, strict=True):
        ended = command.end()
        assert ended.code == 0, ended.said
        assert differences(whole, where) == []
    shutil.rmtree(cache)


def test_who_is_killed_while_it_prepares_holds_nobody_up(whole: Place) -> None:
    cache = whole.root.parent / "shared-and-killed"
    one, other = (beside(whole, f"killed-{number}") for number in range(2))
    first = one.start("train", cache=cache)
    assert first.until(lambda: any(cache.glob("*/*.lock")))
    second = other.start("train", cache=cache)
    first.kill()
    assert first.end().code == -9
    ended = second.end()
    assert ended.code == 0, ended.said
    assert differences(whole, other) == []
    assert one.ended(one.begun(), cache=cache).code == 0
    assert differences(whole, one) == []
