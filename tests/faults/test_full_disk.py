"""A disk without room stops a run with what there was no room for and how to go on; nothing is lost, and nothing half
done is left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueprint.training import checkpoint as checkpoints
from tests.faults.commands import Ended, Server
from tests.faults.disk import Disk, small
from tests.faults.small import Place, differences, half_written

KB = 1024
MODEL = """
name: llama
model:
  type: decoder
  d_model: 64
  layers: 4
  max_length: 64
  block: {attention: {heads: 4, kv_heads: 2, position: rope}, feed_forward: {type: gated, d_ff: 160}}
  head: {tie: true}
tokenizer: byte
"""


@pytest.fixture(scope="module", params=["a small file system", "a limit on files"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk that has as much room as is said; where nothing may be mounted, the limit stands for both."""
    folder = tmp_path_factory.mktemp("disk") / "disk"
    with small(folder, mount=request.param == "a small file system") as made:
        yield made


def on(disk: Disk, whole: Place) -> Place:
    """A place for a run there."""
    made = Place(disk.folder / f"run{time.monotonic_ns()}", whole.spec, whole.server)
    made.root.mkdir()
    return made


def refused(ended: Ended) -> None:
    """It says what there is no room for, and what to do, and is no fault of ours."""
    assert ended.code == 1, ended.said
    assert "no room for" in ended.said
    assert "= fix: make room there" in ended.said
    assert "Traceback" not in ended.said
    assert "Exception ignored" not in ended.said


def stopped_and_gone_on(disk: Disk, whole: Place, room: int, *words: str) -> tuple[Place, str]:
    """A run that stopped for want of room, and what it said; it went on to the same end once there was some."""
    where = on(disk, whole)
    with disk.room(room):
        ended = where.ended("train", *words, **disk.more)
        refused(ended)
        assert half_written(where.run) == []
        for path in checkpoints.listing(where.run / "checkpoints"):
            assert checkpoints.damage(path) is None
        # There is still no room.
        again = where.ended(where.begun(), **disk.more)
        refused(again)
        said = ended.said
    if where.begun() == "resume":
        assert f"`blueprint resume {where.run}` goes on" in said
    ended = where.finish()
    assert ended.code == 0, ended.said
    assert differences(whole, where) == []
    shutil.rmtree(where.root)
    return where, said


@pytest.mark.parametrize(
    ("room", "what"),
    [
        pytest.param(2 * KB, "/cache", id="as data are prepared"),
        pytest.param(400 * KB, "step=000003.ckpt", id="as the first checkpoint is written"),
    ],
)
def test_a_full_disk_stops_a_run_that_goes_on_once_there_is_room(
    room: int, what: str, disk: Disk, whole: Place
) -> None:
    _, said = stopped_and_gone_on(disk, whole, room)
    assert what in said
    assert "are free there" in said
    if "ckpt" in what:
        assert "it takes about 0.7 MB" in said
        assert "no checkpoint had been saved yet" in said


def test_the_checkpoints_before_the_disk_was_full_are_whole(whole: Place, tmp_path: Path) -> None:
    with small(tmp_path / "disk") as disk:
        if disk.mounted:
            where, said = stopped_and_gone_on(disk, whole, 1200 * KB)
            assert f"the last checkpoint is {where.run / 'checkpoints' / 'step=000003.ckpt'}" in said
        else:  # a limit would let none be written, and let in the next where one was
            stopped_and_gone_on(disk, whole, 400 * KB)


@pytest.mark.parametrize("name", ["metrics.csv", "statistics.csv", "samples.txt"])
def test_a_log_that_cannot_be_written_stops_the_run(name: str, whole: Place, tmp_path: Path) -> None:
    where = Place(tmp_path / "case", whole.spec, whole.server)
    where.root.mkdir()
    ended = where.ended("train", full=f"run/{name}")
    refused(ended)
    assert f"no room for {where.run / name}: No space left on device" in ended.said
    assert f"`blueprint resume {where.run}` goes on" in ended.said
    assert where.finish().code == 0
    assert differences(whole, where) == []


@pytest.mark.slow
def test_however_much_room_there_is(whole: Place, tmp_path: Path) -> None:
    """From none at all to enough: a run stops and goes on, or gets through."""
    stopped = 0
    with small(tmp_path / "disk") as disk:
        for room in [*range(0, 160 * KB, 8 * KB), *range(160 * KB, 4000 * KB, 160 * KB)]:
            where = on(disk, whole)
            with disk.room(room):
                ended = where.ended("train", **disk.more)
            if ended.code:
                refused(ended)
                stopped += 1
                assert half_written(where.run) == []
                assert where.finish().code == 0
            assert differences(whole, where) == []
            shutil.rmtree(where.root)
    assert stopped > 20 or not disk.mounted


@pytest.fixture(scope="module")
def model(commands: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, a build of it, and that exported."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "spec.yaml").write_text(MODEL)
    for words in (
        ("build", str(folder / "spec.yaml"), "-o", str(folder / "build"), "--weights"),
        ("export", str(folder / "build"), "-o", str(folder / "hf")),
    ):
        ended = commands.run(*words, cache=folder / "cache")
        assert ended.code == 0, ended.said
    return folder


@pytest.mark.parametrize("word", ["build", "export", "import"])
def test_what_is_made_whole_is_whole_or_not_there(word: str, disk: Disk, model: Path, commands: Server) -> None:
    out = disk.folder / word
    start = {"build": ("spec.yaml", "--weights"), "export": ("build",), "import": ("hf",)}[word]
    command: tuple[Any, ...] = (word, str(model / start[0]), *start[1:], "-o", str(out))
    with disk.room(200 * KB):
        ended = commands.run(*command, cache=model / "cache", **disk.more)
    assert ended.code == 1, ended.said
    assert f"there is no room for {out / 'model.safetensors'}: " in ended.said
    assert "it takes about" in ended.said
    assert "Traceback" not in ended.said
    # A build is of several files, and of an earlier one none may stay; the others are there or not.
    assert not (out / "model.safetensors").exists()
    assert word == "build" or not out.exists()
    assert not [path.name for path in disk.folder.rglob(".*")]
    ended = commands.run(*command, cache=model / "cache")
    assert ended.code == 0, ended.said
    made = {"build": "build", "export": "hf", "import": "build"}[word]
    if word != "import":
        assert (out / "model.safetensors").read_bytes() == (model / made / "model.safetensors").read_bytes()
