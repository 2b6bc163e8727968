"""Killed at any instant (SIGKILL), also while a checkpoint is written: what goes on is bit for bit the run that never
stopped.

`python -m tests.faults.test_killed [KILLS [SEED]]` prints a row for every kill.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blueprint.training import checkpoint as checkpoints
from tests.faults.commands import Command, server
from tests.faults.small import Place, beside, differences, half_written, place

#: Seconds that each part of writing a checkpoint is made to take where it is to be hit.
SLOW = 0.02
KINDS = {
    "at any time": 0.4,
    "inside a checkpoint's write": 0.34,
    "before the run has begun": 0.16,
    "as Python starts": 0.1,
}


@dataclass
class Kill:
    """A process that was killed: of which command, what was meant to be hit, the seconds it had lived, the newest
    checkpoint's step, whether a checkpoint was half written, and whether the run that went on is the same."""

    life: int
    word: str
    kind: str
    seconds: float
    step: int | None
    inside: bool
    then: str
    same: bool | None = None

    def __str__(self) -> str:
        half = "half written" if self.inside else ""
        step = "-" if self.step is None else self.step
        same = "yes" if self.same else "NO"
        said = f"{self.life:4}  {self.word:6}  {self.kind:27}  {self.seconds:7.3f} s  {step!s:>4}"
        return f"{said}  {half:12}  {self.then:6}  {same}"


HEAD = f"{'life':4}  {'killed':6}  {'instant':27}  {'after':>9}  {'step':>4}  {'checkpoint':12}  {'then':6}  the same"


def lives(whole: Place, seconds: float, count: int, seed: int, kinds: dict[str, float]) -> Iterator[list[Kill]]:
    """Runs that are killed up to three times each, `count` times in all, and then go on to their end.

    `seconds` is what the undisturbed run takes.
    """
    drawn, life, left = random.Random(seed), 0, count
    while left:
        life += 1
        where, kills = beside(whole, f"life{seed}-{life}"), list[Kill]()
        for _ in range(min(left, drawn.choice((1, 1, 2, 3)))):
            # A run that has begun is not before its beginning again.
            held = {kind: share for kind, share in kinds.items() if not (kills and "begun" in kind)}
            kind = drawn.choices(list(held), list(held.values()))[0]
            killed = _killed(where, kind, seconds, drawn, life)
            if killed is not None:
                kills.append(killed)
        left -= len(kills)
        if kills:
            ended = where.finish()
            found = [ended.said] if ended.code else differences(whole, where)
            found += half_written(where.run)
            for each in kills:
                each.same = not found
            assert not found, f"{[str(each) for each in kills]}: {found[:8]}"
            yield kills


def _killed(where: Place, kind: str, seconds: float, drawn: random.Random, life: int) -> Kill | None:
    """Start what goes on, and kill it; None where it came to its end before that."""
    word = where.begun()
    began = time.monotonic()
    if "Python" in kind:
        said = where.said(word)
        process = where.server.process(*said.pop("words"), **said)
        time.sleep(drawn.uniform(0, 2 * seconds))
        process.kill()
        died = process.wait() == -9
    else:
        slow = {"slow": SLOW} if "write" in kind else {}
        command = where.start(word, **slow)
        died = _reached(where, command, kind, seconds, drawn)
        command.kill()
        died = command.end().code == -9 and died
    if not died:
        return None
    listing = checkpoints.listing(where.run / "checkpoints")
    step = checkpoints.step_of(listing[-1]) if listing else None
    inside = any("ckpt" in name for name in half_written(where.run))
    return Kill(life, word, kind, time.monotonic() - began, step, inside, where.begun())


def _reached(where: Place, command: Command, kind: str, seconds: float, drawn: random.Random) -> bool:
    """Wait for an instant of its kind; whether it came."""
    if "write" in kind:
        for _ in range(drawn.randint(1, 3)):
            seen = lambda: any("ckpt" in name for name in half_written(where.run))  # noqa: E731
            if not command.until(seen):
                return False
            if not command.until(lambda: not seen()):  # noqa: B023
                return False
        return command.until(seen) and not command.over(drawn.uniform(0, 3 * SLOW))
    share = 0.4 if "begun" in kind else 1.1
    return not command.over(drawn.uniform(0, share * seconds))


def timed(whole: Place) -> float:
    """Seconds that the whole run takes now, in a folder of its own."""
    began = time.monotonic()
    again = beside(whole, "timed")
    assert again.ended("train").code == 0
    assert differences(whole, again) == []
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        (["inside a checkpoint's write"], 2),
        (["before the run has begun"], 1),
        (["at any time"], 2),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(kinds: list[str], count: int, whole: Place) -> None:
    kills = [
        each for life in lives(whole, timed(whole), count, seed=3, kinds=dict.fromkeys(kinds, 1.0)) for each in life
    ]
    assert len(kills) == count
    assert all(each.same for each in kills)
    assert any(each.inside for each in kills) or "write" not in kinds[0]


@pytest.mark.slow
def test_fifty_kills_at_random_instants(whole: Place) -> None:
    kills = [each for life in lives(whole, timed(whole), 50, seed=0, kinds=KINDS) for each in life]
    assert len(kills) == 50
    assert sum(each.inside for each in kills) >= 10
    assert {each.kind for each in kills} == set(KINDS)
    assert all(each.same for each in kills)


def places(whole: Place) -> int:
    """How many changes of files a run makes, each of which may be its last."""
    counted = beside(whole, "counted")
    ended = counted.ended("train", counts=str(counted.root / "counts"))
    assert ended.code == 0, ended.said
    return len((counted.root / "counts").read_text().splitlines())


def died_at(whole: Place, number: int) -> None:
    """Kill a run before its so many-th change of a file, and go on."""
    where = beside(whole, f"died{number}")
    assert where.ended("train", dies=number).code == -9
    ended = where.finish()
    assert ended.code == 0, ended.said
    assert differences(whole, where) == []
    assert half_written(where.run) == []


def test_a_run_killed_as_its_folder_is_made_can_be_gone_on_with(whole: Place) -> None:
    """A folder that neither `train` nor `resume` would take was the end of it."""
    counted = beside(whole, "made")
    counted.ended("train", counts=str(counted.root / "counts"))
    lines = (counted.root / "counts").read_text().splitlines()
    making = [n for n, line in enumerate(lines, 1) if f"{counted.run}/" in line and "/.lock" not in line]
    first = [n for n in making if n <= making[0] + 24]
    for number in first[2::8]:
        died_at(whole, number)


def test_a_run_killed_with_one_checkpoint_too_many_ends_with_as_many_as_any(whole: Place) -> None:
    """The newest is there, the oldest still is: it goes as the run goes on, if that saves nothing more or not."""
    counted = beside(whole, "many")
    counted.ended("train", counts=str(counted.root / "counts"))
    lines = (counted.root / "counts").read_text().splitlines()
    gone = [n for n, line in enumerate(lines, 1) if line.startswith("os.remove") and line.endswith("/step=000003.ckpt")]
    assert len(gone) == 1
    died_at(whole, gone[0])


@pytest.mark.slow
def test_killed_before_any_change_of_a_file(whole: Place) -> None:
    for number in range(1, places(whole) + 1):
        died_at(whole, number)


def main(count: int = 50, seed: int = 0) -> None:
    """Print every kill."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with server(folder) as commands:
            whole = place(folder / "whole", commands)
            assert whole.ended("train").code == 0
            began, seconds = time.monotonic(), timed(whole)
            print(f"the undisturbed run takes {seconds:.2f} s\n\n{HEAD}", flush=True)
            kills = list[Kill]()
            for life in lives(whole, seconds, count, seed, KINDS):
                kills += life
                print(*life, sep="\n", flush=True)
            inside = sum(each.inside for each in kills)
            took = time.monotonic() - began
            print(f"\n{len(kills)} kills, {inside} inside a checkpoint's write: all the same, in {took:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
