"""Damaged files of a run and of the cache are found and named; what goes on is bit for bit the run that never stopped,
or nothing goes on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from blueprint.training import checkpoint as checkpoints
from tests.faults.small import Place, differences, names

KEPT = [checkpoints.name(step) for step in (6, 9, 10)]


def cut(path: Path, drawn: random.Random) -> None:
    """Lose the end of a file."""
    path.write_bytes(path.read_bytes()[: drawn.randrange(path.stat().st_size)])


def flip(path: Path, drawn: random.Random) -> None:
    """Turn one bit over."""
    data = bytearray(path.read_bytes())
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


def blank(path: Path, drawn: random.Random) -> None:
    """Lose what was in a page of the file, as after a power cut."""
    data, at = path.read_bytes(), drawn.randrange(path.stat().st_size)
    path.write_bytes(data[:at] + bytes(min(4096, len(data) - at)) + data[at + 4096 :])


WAYS: dict[str, Callable[[Path, random.Random], None]] = {"cut short": cut, "a bit flipped": flip, "a page lost": blank}


def copy(whole: Place, root: Path) -> Place:
    """A copy of the whole run, its cache with it."""
    made = Place(root / "copy", whole.spec, whole.server)
    shutil.copytree(whole.root, made.root)
    shutil.copy(whole.trace, made.trace)
    return made


def resumed(where: Place, whole: Place) -> str:
    """Go on; what that said."""
    ended = where.ended("resume")
    assert ended.code == 0, ended.said
    assert differences(whole, where) == []
    assert "Traceback" not in ended.said
    return ended.said


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2])
def test_the_newest_whole_checkpoint_is_gone_on_from(way: str, count: int, whole: Place, tmp_path: Path) -> None:
    where, drawn = copy(whole, tmp_path), random.Random(way)
    damaged = [where.run / "checkpoints" / name for name in KEPT[-count:]]
    for path in damaged:
        WAYS[way](path, drawn)
    written = where.ended("generate", "--max-new-tokens", "4", "--seed", "1")
    assert written.code == 0, written.said
    said = resumed(where, whole)
    for path in damaged:
        assert f"passing over {path}: its content does not match its checksum" in said
        assert f"passing over {path}: its content does not match its checksum" in written.said


@pytest.mark.parametrize("way", WAYS)
def test_with_no_whole_checkpoint_nothing_goes_on_and_nothing_is_lost(way: str, whole: Place, tmp_path: Path) -> None:
    where, drawn = copy(whole, tmp_path), random.Random(way)
    for name in KEPT:
        WAYS[way](where.run / "checkpoints" / name, drawn)
    before = {name: (where.run / name).read_bytes() for name in names(where.run) if name != ".lock"}
    for word in ("resume", "generate", "evaluate"):
        ended = where.ended(word)
        assert ended.code == 1, ended.said
        assert all(f"checkpoints/{name}" in ended.said for name in KEPT)
        assert "Traceback" not in ended.said
    assert {name: (where.run / name).read_bytes() for name in names(where.run) if name != ".lock"} == before


@pytest.mark.parametrize("what", ["gone", "empty", "noise", "another word"])
def test_a_damaged_checksum_does_not_cost_its_checkpoint(what: str, whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    for name in KEPT:
        side = checkpoints.sidecar(where.run / "checkpoints" / name)
        if what == "gone":
            side.unlink()
        else:
            side.write_bytes({"empty": b"", "noise": b"\xff\x00\x80", "another word": b"unknown\n"}[what])
    (where.run / "checkpoints" / KEPT[-1]).unlink()
    ended = where.ended("resume")
    assert ended.code == 0, ended.said
    assert "passing over" not in ended.said
    assert [each for each in differences(whole, where) if not each.startswith("files")] == []


@pytest.mark.parametrize("what", ["gone", "empty", "half", "of other data"])
def test_a_checkpoint_holds_the_lock_too(what: str, whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    before = (where.run / "lock.json").read_text()
    damaged = {
        "empty": "",
        "half": before[: len(before) // 2],
        "of other data": before.replace('"content": "', '"content": "0'),
    }
    (where.run / "lock.json").unlink() if what == "gone" else (where.run / "lock.json").write_text(damaged[what])
    (where.run / "checkpoints" / KEPT[-1]).unlink()
    said = resumed(where, whole)
    if what in ("empty", "half"):
        assert f"passing over {where.run / 'lock.json'}" in said
    if what != "of other data":
        assert (where.run / "lock.json").read_text() == before


def test_a_spec_that_is_gone_is_the_checkpoints(whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    (where.run / "spec.yaml").unlink()
    (where.run / "checkpoints" / KEPT[-1]).unlink()
    resumed(where, whole)
    assert (where.run / "spec.yaml").is_file()


def test_half_a_spec_is_not_gone_on_with(whole: Place, tmp_path: Path) -> None:
    """Wherever it ends: what is missing has defaults, and some of them would train something else."""
    where = copy(whole, tmp_path)
    (where.run / "checkpoints" / KEPT[-1]).unlink()
    lines = (where.run / "spec.yaml").read_text().splitlines(keepends=True)
    drawn = random.Random(0)
    ends = [n for n, line in enumerate(lines) if line.startswith(("optimizer:", "tokenizer:", "ema:", "trainer:"))]
    for end in [*ends, *drawn.sample(range(1, len(lines)), 3)]:
        (where.run / "spec.yaml").write_text("".join(lines[:end]))
        ended = where.ended("resume")
        assert ended.code in (0, 1), ended.said
        assert "Traceback" not in ended.said
        if ended.code == 1:
            assert "spec.yaml" in ended.said
        else:
            assert differences(whole, where) == []
            (where.run / "checkpoints" / KEPT[-1]).unlink()
    (where.run / "spec.yaml").write_text("".join(lines[: ends[0]]))
    assert "remove it" in where.ended("resume").said
    (where.run / "spec.yaml").unlink()
    resumed(where, whole)


@pytest.mark.parametrize("name", ["metrics.csv", "statistics.csv", "samples.txt"])
def test_half_a_last_line_is_written_anew(name: str, whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    for step in (10, 9):
        (where.run / "checkpoints" / checkpoints.name(step)).unlink()
    path = where.run / name
    path.write_bytes(path.read_bytes()[:-3])
    resumed(where, whole)


@pytest.mark.parametrize("name", ["metrics.csv", "statistics.csv"])
def test_a_line_that_is_none_is_named(name: str, whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    path = where.run / name
    lines = path.read_bytes().splitlines(keepends=True)
    for noise in (b"\xff\xfe", b"\x00\x00", b"x"):
        path.write_bytes(b"".join([*lines[:3], noise + lines[3], *lines[4:]]))
        ended = where.ended("resume")
        assert ended.code == 1, ended.said
        assert f"{path} cannot be read" in ended.said
        assert "= fix:" in ended.said
    path.write_bytes(b"".join(lines))
    resumed(where, whole)


def held(where: Place) -> list[Path]:
    """The files of the cache that hold something."""
    cache = where.root / "cache"
    return sorted(
        each for each in cache.rglob("*") if each.is_file() and each.suffix != ".lock" and each.stat().st_size
    )


@pytest.mark.parametrize("way", WAYS)
def test_damaged_files_of_the_cache_are_made_anew(way: str, whole: Place, tmp_path: Path) -> None:
    """Whichever it is: the run that trains by them is the same."""
    drawn, found = random.Random(way), held(whole)
    assert {each.relative_to(whole.root / "cache").parts[0] for each in found} == {
        *("contents", "prepared", "tokenizers", "tokens")
    }
    # Each way has its third of them.
    for number, original in list(enumerate(found))[list(WAYS).index(way) :: len(WAYS)]:
        where = copy(whole, tmp_path / str(number))
        path = where.root / "cache" / original.relative_to(whole.root / "cache")
        before = path.read_bytes()
        WAYS[way](path, drawn)
        if path.read_bytes() == before:
            continue
        shutil.rmtree(where.run)
        where.trace.unlink()
        ended = where.ended("train")
        assert ended.code == 0, f"{path}: {ended.said}"
        assert differences(whole, where) == [], path
        # That a document's name is another makes no other ids; a checksum alone makes none either.
        if path.suffix == ".bin" or path.name == "documents.jsonl":
            assert f"{path.parents[path.suffix == '.bin']} is made anew" in ended.said
            assert path.read_bytes() == before
        shutil.rmtree(tmp_path / str(number))


def test_a_run_does_not_need_its_cache(whole: Place, tmp_path: Path) -> None:
    where = copy(whole, tmp_path)
    shutil.rmtree(where.root / "cache")
    (where.run / "checkpoints" / KEPT[-1]).unlink()
    resumed(where, whole)
